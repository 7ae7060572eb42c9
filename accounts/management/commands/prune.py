"""``manage.py prune``: removes what is kept no longer; the audit trail has `prune_audit`."""

from typing import Any

from django.core.management.base import CommandParser

from accounts import audit
from accounts.choices.events import Event
from accounts.management import reporting
from accounts.management.arguments import ProgressBar, shows_progress
from accounts.models import LastRun
from accounts.operations import retention


class Command(reporting.ReportingCommand):
    help = (
        "Removes old refusals, counts, SMS deliveries, trusted devices, invitations and answered requests, each after "
        "its days. Safe to run at any time. " + reporting.EXIT_CODES
    )
    json_shape = '{"removed": {name: count}, "dry_run"}'

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only count")

    def handle(self, *args: Any, **options: Any) -> None:
        result = {}
        bar = ProgressBar(0 if options["dry_run"] else _total())
        for kept in retention.RETENTION.values():
            result[kept.name] = (
                retention.over(kept).count() if options["dry_run"] else retention.remove(kept, bar.add)
            )
        bar.end()
        if not options["dry_run"]:
            LastRun.note("prune")
        if not options["dry_run"] and any(result.values()):
            audit.record(Event.PRUNED, None, customer=None, operator=audit.operator(), removed=result)
        lines = [
            f"{kept.name}: {result[kept.name]} (after {kept.days} days)"
            for kept in retention.RETENTION.values()
        ]
        self.write_result(options, {"removed": result, "dry_run": options["dry_run"]}, *lines)


def _total() -> int:
    """Return how many rows go; 0 if nobody would see it."""
    return (
        sum(retention.over(kept).count() for kept in retention.RETENTION.values()) if shows_progress() else 0
    )
