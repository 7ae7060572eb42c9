"""``manage.py freeze_account``: stops all keys of an account and ends its sessions."""

from accounts.actions import freeze
from accounts.management import reporting


class Command(reporting.AccountCommand):
    help = (
        "Freezes an account: every request of its keys is refused, and all its sessions end. The customer is notified "
        "of the reason. If the account is already frozen, only its sessions end. " + reporting.EXIT_CODES
    )
    json_shape = '{"phone", "state": "frozen", "changed"}'
    state, changed, unchanged = "frozen", "is frozen.", "was frozen already."
    act = staticmethod(freeze.freeze)
