"""``manage.py freeze_account``: stops all keys of an account and ends its sessions."""

from accounts.actions import freeze
from accounts.management import reporting


class Command(reporting.AccountCommand):
    help = (
        "Freezes an account: none of its keys passes any more, all its sessions end. The customer is told and reads "
        "the reason. An account that is frozen already stays so, its sessions end. " + reporting.EXIT_CODES
    )
    json_shape = '{"phone", "state": "frozen", "changed"}'
    state, changed, unchanged = "frozen", "is frozen.", "was frozen already."
    act = staticmethod(freeze.freeze)
