"""``manage.py freeze_account``: stops all keys of an account and ends its sessions, at once."""

from typing import Any

from django.core.management.base import CommandParser

from accounts import emergency
from accounts.management import reporting
from hitobit_portal.jalali import masked_phone


class Command(reporting.ReportingCommand):
    help = (
        "Freezes an account: none of its keys passes any more, all its sessions end. The customer is told and reads "
        "the reason. An account that is frozen already stays so, its sessions end. " + reporting.EXIT_CODES
    )
    json_shape = '{"phone", "state": "frozen", "changed"}'

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("phone", type=reporting.phone, help="the account's mobile number in any spelling")
        parser.add_argument(
            "--reason", type=reporting.reason, required=True, help="why; the customer reads it"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        user = reporting.account(options["phone"])
        changed = emergency.freeze(None, user, via="command", reason=options["reason"])
        said = f"The account of {masked_phone(user.phone)} " + (
            "is frozen." if changed else "was frozen already."
        )
        self.tell(options, {"phone": user.phone, "state": "frozen", "changed": changed}, said)
