"""``manage.py expire_keys``: tells owners of keys, and of trading, that end soon."""

from typing import Any

from django.core.management.base import CommandParser

from accounts.management import reporting
from apikeys.actions import expiry_reminders


class Command(reporting.ReportingCommand):
    help = (
        "Announces keys that expire, and keys whose trading ends, 30, 7 and 1 days before: an event each, and a notice "
        "in the outbox (send_notices sends it). Ends themselves need no command: each request looks at the date. "
        "Any number of these may run at once; nobody is told twice. " + reporting.EXIT_CODES
    )
    json_shape = '{"told", "dry_run"}'

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="say how many would be told, and tell nobody"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        dry = options["dry_run"]
        told = expiry_reminders.count_due() if dry else expiry_reminders.send_reminders()
        said = f"{told} ends {'would be' if dry else 'were'} announced."
        self.tell(options, {"told": told, "dry_run": dry}, said)
