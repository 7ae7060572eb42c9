"""``manage.py send_notices``: sends what waits in the outbox, and does what has to be done from time to time."""

import json
import logging
import os
import signal
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import close_old_connections

from accounts.access import sessions
from accounts.actions import pending_accounts, scheduled_changes
from accounts.audit import chain
from accounts.models import LastRun
from accounts.notifications import outbox
from accounts.notifications.outbox import Report
from apikeys.actions import expiry_reminders

logger = logging.getLogger("portal.notices")
PARENT_SECONDS = 1.0
#: After so long of sending without an end the loop looks after the other work again.
LONGEST_ROUND = 30.0


def _clear_sessions() -> None:
    call_command("clearsessions")


def _note_run() -> None:
    """For `portal_doctor`: an empty outbox does not tell whether somebody looks into it."""
    LastRun.note("send_notices")


#: What to do beside sending: (name, the work, seconds between two rounds of it in a loop).
CHORES: tuple[tuple[str, Callable[[], object], int], ...] = (
    ("waiting changes of factors", scheduled_changes.apply_due, 30),
    ("events outside of the audit chain", chain.seal_pending, 30),
    ("keys that expire soon", expiry_reminders.announce, 600),
    ("ended logins", sessions.delete_expired, 600),
    ("expired sessions", _clear_sessions, 600),
    ("numbers without an account", pending_accounts.delete_expired, 600),
    ("time of this run", _note_run, 60),
)


class Command(BaseCommand):
    help = (
        "Sends security notices, announces keys that expire soon, applies waiting changes of factors, clears expired "
        "sessions. Once: exit code 1 when a notice was not delivered or a part of this failed. Any number may run."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--loop", action="store_true", help="go on until SIGTERM or SIGINT")
        parser.add_argument("--every", type=float, default=5.0, help="seconds between two rounds (5)")
        parser.add_argument(
            "--json", action="store_true", help="print what happened as JSON, one line a round"
        )
        parser.add_argument("--while-pid", type=int, help="end when the parent process is no longer this one")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 0.1 <= options["every"] <= 3600:
            raise CommandError("--every takes seconds from 0.1 to 3600.")
        if settings.DEMO:
            os.umask(0o077)  # its e-mails are files, with links that freeze the account
            Path(settings.EMAIL_FILE_PATH).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.as_json, self.parent = options["json"], options["while_pid"]
        self.stop = threading.Event()
        self.is_loop = options["loop"]
        self.last: dict[str, float] = {}
        self.broken = False
        if options["loop"]:
            self._loop(options["every"])
            return
        self._round()
        if self.broken:
            raise CommandError("Something was not delivered or not done; the log says what.", returncode=1)

    def _loop(self, every: float) -> None:
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        for number in before:
            signal.signal(number, lambda *_arguments: self.stop.set())
        try:
            while not self._is_over():
                self._round()
                self._pause(every)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _pause(self, seconds: float) -> None:
        """Waits, and looks whether the parent is still there meanwhile."""
        end = time.monotonic() + seconds
        while not self._is_over() and (left := end - time.monotonic()) > 0:
            self.stop.wait(min(left, PARENT_SECONDS))

    def _is_over(self) -> bool:
        return self.stop.is_set() or (self.parent is not None and os.getppid() != self.parent)

    def _round(self) -> None:
        self.broken = False
        for name, work, seconds in CHORES:
            if time.monotonic() - self.last.get(name, -seconds) >= seconds and not self._is_over():
                self.last[name] = time.monotonic()
                self._try(name, work)
        report, started = Report(), time.monotonic()
        # One at a time: a signal waits for one provider, not for a hundred.
        while not self._is_over() and (one := self._try("outbox", lambda: outbox.send_due(limit=1))):
            report += one
            if not one.handled or (self.is_loop and time.monotonic() - started > LONGEST_ROUND):
                break
        self.broken |= bool(report.failed or report.gave_up)
        self._tell(report)

    def _try(self, name: str, work: Callable[[], Any]) -> Any:
        """What ``work`` returns; None when it failed, and then a line in the log: the next round tries again."""
        try:
            close_old_connections()
            return work()
        except Exception as error:
            # The class only: messages of databases and providers repeat values and addresses with passwords.
            logger.error("%s: %s", name, type(error).__name__)
            self.broken = True
            return None

    def _tell(self, report: Report) -> None:
        if self.as_json:
            self.stdout.write(json.dumps(vars(report)))
        elif report.handled:
            self.stdout.write(
                f"{report.sent} sent, {report.failed} failed, {report.postponed} postponed, {report.gave_up} given up"
            )
        self.stdout.flush()
