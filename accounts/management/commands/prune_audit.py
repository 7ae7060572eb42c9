"""``manage.py prune_audit``: removes old security events in such a way that the rest can still be verified."""

import json
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.utils import timezone

from accounts import audit
from accounts.audit import chain, prune
from accounts.audit.prune import Plan
from accounts.audit.verify import Walk
from accounts.choices.events import Event
from accounts.management.arguments import progress
from accounts.models import AuditHead


class Command(BaseCommand):
    help = (
        "Removes the oldest security events: from the beginning of the chain up to the first that is younger. The "
        "chain keeps a signed checkpoint, and goes on being verifiable. What is to be removed is verified first, and "
        "an event records it. Exit codes: 0 done (or nothing to do), 1 refused (the trail is damaged), 2 wrong usage."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than",
            type=int,
            required=True,
            metavar="DAYS",
            help=f"remove what is older than this; {prune.LEAST_DAYS} or more",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="say how many would go, and remove nothing"
        )
        parser.add_argument(
            "--json", action="store_true", help='print {"removed", "first", "last", "dry_run"} for scripts'
        )

    def handle(self, *args: Any, **options: Any) -> None:
        days = options["older_than"]
        if not prune.LEAST_DAYS <= days <= 36_500:
            raise CommandError(f"--older-than takes days from {prune.LEAST_DAYS} to 36500.", returncode=2)
        try:
            planned = prune.plan(timezone.now() - timedelta(days=days))
            self._verify(planned)
            if planned.count and not options["dry_run"]:
                audit.record(
                    Event.AUDIT_PRUNED, None, customer=None, operator=audit.operator(),
                    days=days, first=planned.first, last=planned.last,
                )  # fmt: skip
                prune.prune(planned, progress)
        except AuditHead.DoesNotExist:
            raise CommandError("The head of the chain is missing; run verify_audit.") from None
        except chain.ChainError as error:
            raise CommandError(f"Nothing more was removed: {error}.") from None
        except DatabaseError as error:
            # The class only: messages of databases repeat values.
            raise CommandError(f"Nothing more was removed: {type(error).__name__}.") from None
        self._tell(planned, options)

    def _verify(self, planned: Plan) -> None:
        """Refuses to remove the traces of damage."""
        if planned.count and next(Walk(until=planned.last).findings(), None) is not None:
            raise CommandError("The part to be removed is damaged; run verify_audit. Nothing was removed.")

    def _tell(self, planned: Plan, options: dict[str, Any]) -> None:
        dry = options["dry_run"]
        if options["json"]:
            ends = (
                {"first": planned.first, "last": planned.last}
                if planned.count
                else {"first": None, "last": None}
            )
            self.stdout.write(json.dumps({"removed": 0 if dry else planned.count, **ends, "dry_run": dry}))
        elif not planned.count:
            self.stdout.write("No event is that old.")
        else:
            verb = "would be removed" if dry else "were removed"
            self.stdout.write(f"{planned.count} events (links {planned.first} to {planned.last}) {verb}.")
