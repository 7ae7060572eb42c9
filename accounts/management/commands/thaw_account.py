"""``manage.py thaw_account``: makes the keys of a frozen account work again."""

from accounts.actions import freeze
from accounts.management import reporting


class Command(reporting.AccountCommand):
    help = (
        "Thaws a frozen account: keys that were not paused one by one work again. The customer is notified of the "
        "reason. An account that is not frozen is not changed. " + reporting.EXIT_CODES
    )
    json_shape = '{"phone", "state": "thawed", "changed"}'
    state, changed, unchanged = "thawed", "is thawed.", "was not frozen."
    act = staticmethod(freeze.thaw)
