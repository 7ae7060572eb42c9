"""``manage.py export_audit``: security events as CSV or JSON lines."""

import sys
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet

from accounts import audit
from accounts.audit import export
from accounts.choices.events import Event, all_events
from accounts.management.arguments import ProgressBar, moment, shows_progress
from accounts.management.output_files import add_output, private_file
from accounts.models import AuditEvent, User
from hitobit_portal.i18n.fields import parse_phone


class Command(BaseCommand):
    help = (
        "Writes security events, oldest first, to the standard output or a new file that only its owner can read. "
        "Phone numbers in them are masked. An event records who exported what. Exit codes: 0 done, 1 refused (no such "
        "account, the file exists or can't be written), 2 wrong usage."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--since", type=moment, help="events of this time (2026-11-23) and after")
        parser.add_argument("--until", type=moment, help="events before this time")
        parser.add_argument("--event", action="append", metavar="EVENT",
                            choices=[event.value for event in all_events()],
                            help="this kind only, such as account.frozen; may be given several times")  # fmt: skip
        parser.add_argument(
            "--customer", metavar="PHONE", help="events of the account with this mobile number"
        )
        parser.add_argument("--format", choices=["csv", "jsonl"], default="jsonl", help="default: jsonl")
        add_output(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        events = self._chosen(options)
        if not options["output"]:
            self._print(self._lines(events, options))
            return
        with private_file(options["output"], force=options["force"]) as file:
            file.writelines(self._lines(events, options))

    def _lines(self, events: QuerySet[AuditEvent], options: dict[str, Any]) -> Iterator[str]:
        """Record the export, and yield its lines."""
        audit.record(
            Event.AUDIT_EXPORTED, None, customer=None, operator=audit.operator(), format=options["format"],
            since=_iso(options["since"]), until=_iso(options["until"]), events=options["event"] or [],
            of=str(self.customer.pk) if self.customer else "",
        )  # fmt: skip
        is_drawn = bool(options["output"]) or not sys.stdout.isatty()
        bar = ProgressBar(events.count() if is_drawn and shows_progress() else 0)
        yield from export.lines(events, options["format"], bar.add)
        bar.end()

    def _chosen(self, options: dict[str, Any]) -> QuerySet[AuditEvent]:
        events = AuditEvent.objects.all()
        self.customer: User | None = None
        if options["since"]:
            events = events.filter(at__gte=options["since"])
        if options["until"]:
            events = events.filter(at__lt=options["until"])
        if options["event"]:
            events = events.filter(event__in=options["event"])
        if options["customer"] is not None:
            phone = parse_phone(options["customer"])
            self.customer = (
                User.objects.filter(phone=phone, joined_at__isnull=False).first() if phone else None
            )
            if self.customer is None:
                raise CommandError("There is no account with this number.")
            events = events.filter(customer=self.customer)
        return events

    def _print(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.stdout.write(line, ending="")


def _iso(moment: Any) -> str:
    return moment.isoformat() if moment else ""
