"""``manage.py portal_doctor``: whether everything that the portal needs is there and in order, and what to do."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import translation

from accounts.operations.doctor import CheckResult, CheckStatus, run_checks


class Command(BaseCommand):
    help = (
        "Looks at database, migrations, clock, cache, settings, proxies, master keys, SMS, e-mail, notices, audit "
        "trail and gateway tokens, and says what to do. Sends no message, changes nothing, prints no secret. "
        "Exit codes: 0 nothing fails (warnings there may be), 1 something fails, 2 wrong usage."
    )
    #: They are among the findings, and must not end the command before the others are told.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--json",
            action="store_true",
            help='print {"state", "findings": [{"name", "state", "found", "advice"}]}',
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with translation.override("en"):
            findings = list(run_checks())
        states = {finding.state for finding in findings}
        worst = next(
            (state for state in (CheckStatus.FAIL, CheckStatus.WARN) if state in states), CheckStatus.OK
        )
        if options["json"]:
            rows = [
                {"name": one.name, "state": one.state.value, "found": one.summary, "advice": one.advice}
                for one in findings
            ]
            self.stdout.write(json.dumps({"state": worst.value, "findings": rows}))
        else:
            for finding in findings:
                self._print(finding)
        if worst is CheckStatus.FAIL:
            raise SystemExit(1)

    def _print(self, finding: CheckResult) -> None:
        style = {
            CheckStatus.OK: self.style.SUCCESS,
            CheckStatus.WARN: self.style.WARNING,
            CheckStatus.FAIL: self.style.ERROR,
        }
        mark = style[finding.state](f"{finding.state.value:4}")
        self.stdout.write(f"{mark}  {finding.name}: {finding.summary}")
        if finding.advice:
            self.stdout.write(f"      -> {finding.advice}")
