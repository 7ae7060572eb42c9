"""``manage.py send_notices``: sends what waits in the outbox, and does what has to be done from time to time."""

import json
import logging
import os
import signal
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import close_old_connections, connection, connections

from accounts.notifications import outbox
from accounts.notifications.outbox import Report
from accounts.operations import chores
from accounts.webhooks import sender as webhooks

logger = logging.getLogger("portal.notices")
PARENT_SECONDS = 1.0
#: After so long of sending without an end the loop looks after the other work again.
LONGEST_ROUND = 30.0
#: Without --loop: no event is sent to a webhook any more after this time, or `tick` would be late with notices.
WEBHOOK_SECONDS = 20.0


class Command(BaseCommand):
    help = (
        "Sends security notices, announces keys that expire soon, applies waiting changes of factors, clears expired "
        "sessions, and sends events to webhooks. Once: exit code 1 when a notice was not delivered or a part of this "
        "failed; webhooks have alerts of their own. Any number may run."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--loop", action="store_true", help="go on until SIGTERM or SIGINT")
        parser.add_argument("--every", type=float, default=5.0, help="seconds between two rounds (5)")
        parser.add_argument(
            "--senders", type=int, default=4,
            help="messages in work at once on PostgreSQL (4): a provider that hangs holds one of them",
        )  # fmt: skip
        parser.add_argument(
            "--json", action="store_true", help="print what happened as JSON, one line a round"
        )
        parser.add_argument("--while-pid", type=int, help="end when the parent process is no longer this one")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 0.1 <= options["every"] <= 3600:
            raise CommandError("--every takes seconds from 0.1 to 3600.")
        if not 1 <= options["senders"] <= 64:
            raise CommandError("--senders takes a number from 1 to 64.")
        if settings.DEMO:
            os.umask(0o077)  # its e-mails are files, with links that freeze the account
            Path(settings.EMAIL_FILE_PATH).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.as_json, self.parent = options["json"], options["while_pid"]
        self.stop = threading.Event()
        self.is_loop = options["loop"]
        # SQLite has one writer at a time.
        self.senders = options["senders"] if connection.vendor == "postgresql" else 1
        self.last: dict[str, float] = {}
        self.broken = False
        if options["loop"]:
            self._loop(options["every"])
            return
        is_broken = False
        while self._round():
            is_broken |= self.broken
        webhooks.send(self._is_over, WEBHOOK_SECONDS)
        if is_broken or self.broken:
            raise CommandError("Something was not delivered or not done; the log says what.", returncode=1)

    def _loop(self, every: float) -> None:
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        for number in before:
            signal.signal(number, lambda *_arguments: self.stop.set())
        # Beside the notices to people, who wait for no receiver of webhooks.
        beside = threading.Thread(target=self._send_webhooks, name="webhooks")
        beside.start()
        try:
            while not self._is_over():
                if not self._round():
                    self._pause(every)
        finally:
            self.stop.set()
            beside.join()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _send_webhooks(self) -> None:
        try:
            webhooks.send(self._is_over)
        finally:
            connections.close_all()

    def _pause(self, seconds: float) -> None:
        """Waits, and looks whether the parent is still there meanwhile."""
        end = time.monotonic() + seconds
        while not self._is_over() and (left := end - time.monotonic()) > 0:
            self.stop.wait(min(left, PARENT_SECONDS))

    def _is_over(self) -> bool:
        return self.stop.is_set() or (self.parent is not None and os.getppid() != self.parent)

    def _round(self) -> bool:
        """Do what is due. Return whether some of it goes on in the next round."""
        self.broken = self.has_more = False
        for name, (work, seconds) in chores.CHORES.items():
            if time.monotonic() - self.last.get(name, -seconds) >= seconds and not self._is_over():
                self.last[name] = time.monotonic()
                if self._try(name, work) is chores.MORE:
                    self.last[name] -= seconds
                    self.has_more = True
        report = self._send()
        self.broken |= bool(report.failed or report.gave_up)
        self._tell(report)
        return self.has_more and not self._is_over()

    def _send(self) -> Report:
        if self.senders == 1:
            return self._send_one_by_one()
        with ThreadPoolExecutor(self.senders, thread_name_prefix="sender") as pool:
            reports = [pool.submit(self._send_in_thread) for _n in range(self.senders)]
            return sum((each.result() for each in reports), Report())

    def _send_in_thread(self) -> Report:
        try:
            return self._send_one_by_one()
        finally:
            connections.close_all()

    def _send_one_by_one(self) -> Report:
        report, started = Report(), time.monotonic()
        # A signal waits for one provider, not for a hundred.
        while not self._is_over() and (one := self._try("outbox", lambda: outbox.send_due(limit=1))):
            report += one
            if not one.handled:
                break
            if self.is_loop and time.monotonic() - started > LONGEST_ROUND:
                self.has_more = True
                break
        return report

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
        if not self.as_json and not report.handled:
            return
        waiting = self._try("outbox", outbox.count_waiting)
        if self.as_json:
            self.stdout.write(json.dumps({**vars(report), "waiting": waiting}))
        else:
            self.stdout.write(
                f"{report.sent} sent, {report.failed} failed, {report.postponed} postponed, {report.gave_up} given up, "
                f"{waiting} wait"
            )
        self.stdout.flush()
