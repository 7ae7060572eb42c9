"""``manage.py verify_audit``: whether the audit trail is as it was written."""

import json
from dataclasses import asdict
from itertools import islice
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import audit, audit_chain
from accounts.audit_verify import Walk
from accounts.events import Event
from accounts.management.reporting import free_text_problem
from accounts.management.typed import moment, progress

#: More than these are counted only.
MOST_FINDINGS = 1000


class Command(BaseCommand):
    help = (
        "Walks the chain of security events and says which rows were changed, removed, moved or put in. Exit codes: 0 "
        "the trail is whole, 1 it is damaged (or the chain could not be restarted), 2 wrong usage. "
        "Take copies before anything else when it is damaged; see docs/audit.md."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--since", type=moment, help="begin with events of this time (2026-11-23); default: the beginning"
        )
        parser.add_argument(
            "--restart",
            metavar="REASON",
            help="after the head of the chain was lost or changed: go on from the last link; the reason is recorded",
        )
        parser.add_argument(
            "--json",
            action="store_true",
            help='print {"whole", "links", "unsigned", "findings": [{"kind", "what", "sequence", "event"}], "more"}',
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["restart"] is not None:
            return self._restart(options["restart"].strip())
        walk = Walk(since=options["since"], progress=progress)
        found = walk.findings()
        findings = list(islice(found, MOST_FINDINGS))
        more = sum(1 for _finding in found)
        if options["json"]:
            result = {"whole": not findings, "links": walk.links, "unsigned": walk.unsigned}
            listed = [asdict(finding) for finding in findings]
            self.stdout.write(json.dumps({**result, "findings": listed, "more": more}))
        else:
            for finding in findings:
                self.stdout.write(
                    f"link {finding.sequence or '-'}, event {finding.event or '-'}: {finding.what} ({finding.kind})"
                )
            self.stdout.write(f"{walk.links} links looked at.")
            if walk.unsigned:
                self.stdout.write(
                    f"{walk.unsigned} events are older than the chain; they are proved from when they were linked."
                )
        if findings:
            raise CommandError(f"The audit trail is damaged: {len(findings) + more} findings.", returncode=1)
        if not options["json"]:
            self.stdout.write("The audit trail is whole.")
        return None

    def _restart(self, reason: str) -> None:
        if not 0 < len(reason) <= 200:
            raise CommandError("--restart needs a reason: 1 to 200 characters.", returncode=2)
        if wrong := free_text_problem(reason):
            raise CommandError(f"The reason {wrong}.", returncode=2)
        try:
            last = audit_chain.restart()
        except audit_chain.ChainError as error:
            raise CommandError(f"Not restarted: {error}.") from None
        audit.record(
            Event.AUDIT_RESTARTED, None, customer=None, reason=reason, after=last, operator=audit.operator()
        )
        self.stdout.write(f"The chain goes on after link {last}.")
