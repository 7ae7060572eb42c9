"""``manage.py thaw_account``: lets the keys of a frozen account pass again."""

from typing import Any

from django.core.management.base import CommandParser

from accounts import emergency
from accounts.management import reporting
from hitobit_portal.jalali import masked_phone


class Command(reporting.ReportingCommand):
    help = (
        "Thaws a frozen account: keys that were not paused one by one pass again. The customer is told and reads the "
        "reason. An account that is not frozen stays as it is. " + reporting.EXIT_CODES
    )
    json_shape = '{"phone", "state": "thawed", "changed"}'

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("phone", type=reporting.phone, help="the account's mobile number in any spelling")
        parser.add_argument(
            "--reason", type=reporting.reason, required=True, help="why; the customer reads it"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        user = reporting.account(options["phone"])
        changed = emergency.thaw(None, user, via="command", reason=options["reason"])
        said = f"The account of {masked_phone(user.phone)} " + (
            "is thawed." if changed else "was not frozen."
        )
        self.tell(options, {"phone": user.phone, "state": "thawed", "changed": changed}, said)
