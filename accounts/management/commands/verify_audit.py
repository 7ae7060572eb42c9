"""``manage.py verify_audit``: whether the audit trail is as it was written."""

import json
import logging
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from accounts import audit
from accounts.audit import chain, evidence, stream
from accounts.audit.verify import Walk
from accounts.choices.events import Event
from accounts.management.arguments import moment, progress
from accounts.management.reporting import free_text_problem
from accounts.models import LastRun

logger = logging.getLogger("portal.audit")

#: More than these are counted only.
MOST_FINDINGS = 1000


class Command(BaseCommand):
    help = (
        "Walks the chain of security events and says which rows were changed, removed, moved or put in. Exit codes: 0 "
        "the trail is whole, 1 it is damaged (or the chain could not be restarted), 2 wrong usage. "
        "The numbers of events, notices and the lines of PORTAL_AUDIT_SINK are compared with it, too. "
        "Take copies before anything else when it is damaged; see docs/audit.md."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--since",
            type=moment,
            help="begin with events of this time (2026-11-23); nothing before it is read or proved; default: the "
            "beginning",
        )
        parser.add_argument(
            "--restart",
            metavar="REASON",
            help="after the head of the chain was lost or changed: go on from the last link; the reason is recorded",
        )
        parser.add_argument(
            "--explain",
            metavar="REASON",
            help="after events with these numbers were found to be missing (missing_number) and the cause is known: "
            "they are not found again; the numbers and the reason are recorded",
        )
        parser.add_argument(
            "--sink",
            action="append",
            type=Path,
            metavar="FILE",
            help="compare with this file of the sink's lines; may be given several times. Default: PORTAL_AUDIT_SINK",
        )
        parser.add_argument(
            "--json",
            action="store_true",
            help='print {"whole", "first", "links", "unsigned", "findings": [{"kind", "what", "sequence", "event", '
            '"numbers"}], "more", "remarks": [...]}; remarks do not change the exit code',
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["restart"] is not None:
            return self._restart(options["restart"].strip())
        if options["explain"] is not None:
            return self._explain(options["explain"].strip())
        walk = Walk(since=options["since"], sinks=_sinks(options["sink"]), progress=progress)
        results = walk.findings()
        try:
            findings = list(islice(results, MOST_FINDINGS))
            more = sum(1 for _finding in results)
        except OSError as error:
            raise CommandError(f"The sink's lines can't be read: {error.strerror}.", returncode=2) from None
        _note_run(is_whole=not findings)
        if options["json"]:
            result = {
                "whole": not findings,
                "first": walk.first,
                "links": walk.links,
                "unsigned": walk.unsigned,
            }
            listed = [asdict(finding) for finding in findings]
            remarks = [asdict(remark) for remark in walk.remarks]
            self.stdout.write(json.dumps({**result, "findings": listed, "more": more, "remarks": remarks}))
        else:
            for finding in findings:
                self.stdout.write(
                    f"link {finding.sequence or '-'}, event {finding.event or '-'}: {finding.what} ({finding.kind})"
                )
            for remark in walk.remarks:
                self.stdout.write(f"Remark: {remark.what} ({remark.kind}).")
            self.stdout.write(f"{walk.links} links checked.")
            if options["since"]:
                self.stdout.write(
                    f"Not checked: links before {walk.first}, and whether events before {options['since'].isoformat()} "
                    "were changed, removed or put in."
                )
            if walk.unsigned:
                self.stdout.write(
                    f"{walk.unsigned} events are older than the chain; they are proved from when they were linked."
                )
        if findings:
            raise CommandError(f"The audit trail is damaged: {len(findings) + more} findings.", returncode=1)
        if not options["json"]:
            self.stdout.write("The audit trail is whole.")
        return None

    def _explain(self, reason: str) -> None:
        _need(reason, "--explain")
        results = evidence.of_numbers(evidence.issued())
        runs = [run for finding in results if (run := finding.numbers)]
        if not runs:
            raise CommandError("Not explained: no number is missing.")
        audit.record(
            Event.AUDIT_EXPLAINED, None, customer=None, reason=reason, numbers=runs, operator=audit.operator()
        )
        for first, last in runs:
            self.stdout.write(f"Explained: numbers {first} to {last}.")

    def _restart(self, reason: str) -> None:
        _need(reason, "--restart")
        try:
            last = chain.restart()
        except chain.ChainError as error:
            raise CommandError(f"Not restarted: {error}.") from None
        audit.record(
            Event.AUDIT_RESTARTED, None, customer=None, reason=reason, after=last, operator=audit.operator()
        )
        self.stdout.write(f"The chain goes on after link {last}.")


def _note_run(*, is_whole: bool) -> None:
    """Record the run for `/metrics`. The result is printed in any case, also about a database that is read-only."""
    try:
        LastRun.note("verify_audit" if is_whole else "verify_audit_damaged")
    except DatabaseError as error:
        logger.warning("the run of verify_audit is not recorded: %s", type(error).__name__)


def _need(reason: str, option: str) -> None:
    if not 0 < len(reason) <= 200:
        raise CommandError(f"{option} needs a reason: 1 to 200 characters.", returncode=2)
    if wrong := free_text_problem(reason):
        raise CommandError(f"The reason {wrong}.", returncode=2)


def _sinks(named: list[Path] | None) -> list[Path]:
    """The named files; without any, the one that this machine writes."""
    if named is not None:
        return named
    own = Path(settings.AUDIT_SINK) if settings.AUDIT_SINK not in ("", stream.STDOUT) else None
    return [own] if own is not None and own.is_file() else []
