"""``manage.py tick``: everything that has to be done from time to time, once; for cron and timers."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser
from django.db import connection
from django.utils import timezone

from accounts.management import reporting
from accounts.models import LastRun

#: Of this command alone: a number that PostgreSQL's advisory locks know it by.
LOCK = 7_164_205
NIGHT = 4
#: Pruned once a night; a night on which nothing ran is made up for by day.
OFTEN, SELDOM = timedelta(hours=20), timedelta(hours=36)


class Command(reporting.ReportingCommand):
    help = (
        "Sends what waits in the outbox, announces ends of keys, applies waiting changes of factors, links the audit "
        "trail, clears what is over. Two at once do it once: the second says so and ends with 0. Exit codes: 0 done, "
        "1 a part failed (the log says which; the others were done), 2 wrong usage."
    )
    json_shape = '{"ran"}'

    def arguments(self, parser: CommandParser) -> None:
        """None of its own."""

    def handle(self, *args: Any, **options: Any) -> None:
        with alone() as is_alone:
            if not is_alone:
                self.write_result(options, {"ran": False}, "Another one runs; nothing was done.")
                return
            failed = [name for name in due() if not self._runs(name)]
            # Also after a failure: what failed has metrics and alerts of its own.
            LastRun.note("tick")
        if failed:
            raise CommandError(f"Failed: {', '.join(failed)}; the log says why.")
        self.write_result(options, {"ran": True}, "Done.")

    def _runs(self, name: str) -> bool:
        try:
            call_command(name, stdout=self.stderr)
        except CommandError as error:
            self.stderr.write(f"{name}: {error}")
            return False
        return True


def due() -> list[str]:
    """The commands to run now; what takes long waits for the night, on Tehran's clock."""
    last, now = LastRun.of("prune"), timezone.now()
    since = now - last.at if last is not None else SELDOM
    wait = OFTEN if timezone.localtime(now).hour == NIGHT else SELDOM
    return ["send_notices", "prune"] if since >= wait else ["send_notices"]


@contextmanager
def alone() -> Iterator[bool]:
    """Whether nobody else is within, on any machine of this database."""
    if connection.vendor != "postgresql":
        with (settings.DATA_DIR / "tick.lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        return
    # A connection of its own, which is closed and not given back to the pool: the lock must not outlive its holder. Not
    # for a transaction either, which would be open for as long as all the work takes.
    held = connection.copy()
    held.settings_dict["OPTIONS"].pop("pool", None)
    try:
        with held.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
            is_alone = bool(cursor.fetchone()[0])
        yield is_alone
    finally:
        held.close()
