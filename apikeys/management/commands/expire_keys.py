"""``manage.py expire_keys``: remind owners of keys, and of trade permissions, that end soon."""

from typing import Any

from django.core.management.base import CommandParser

from accounts.management import reporting
from apikeys.actions import expiry_reminders


class Command(reporting.ReportingCommand):
    help = (
        "Remind owners of keys that expire, and of keys whose trade permission ends, 30, 7 and 1 days before. Records "
        "an event for each, and queues a notice in the outbox (send_notices sends it). The ends themselves need no "
        "command: every request is checked against the date. Safe to run concurrently; each reminder is sent once. "
        + reporting.EXIT_CODES
    )
    json_shape = '{"told", "dry_run"}'

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only print the number of reminders")

    def handle(self, *args: Any, **options: Any) -> None:
        dry = options["dry_run"]
        count = expiry_reminders.count_due() if dry else expiry_reminders.send_reminders()
        line = f"{count} reminders {'would be' if dry else 'were'} queued."
        self.write_result(options, {"told": count, "dry_run": dry}, line)
