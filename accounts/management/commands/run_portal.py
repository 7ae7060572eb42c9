"""``manage.py run_portal``: serves the pages in production, in the image and the systemd units."""

import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from hitobit_portal.observability import logs

#: 8 threads a worker: pages wait for the database, and logins for a slow hash, but not for each other.
SERVER = "--interface wsgi --http 1 --no-ws --log-level info --blocking-threads 8 --respawn-failed-workers"
#: Longer than the slowest response (SMS providers are called outside of requests).
STOP_SECONDS = 20


class Command(BaseCommand):
    help = (
        "Serves the portal's pages until SIGTERM, behind a proxy that ends TLS. SIGHUP starts new workers one after "
        "another. PORTAL_PROCESSES says how many there are in all, on all machines; --workers how many of them here."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 in a container"
        )
        parser.add_argument("--port", type=int, default=settings.PORT)
        parser.add_argument(
            "--workers", type=int, default=settings.PROCESSES, help="processes of this server"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        # The checks of settings depend on the number of workers: shared cache, database with row locks.
        if not 1 <= options["workers"] <= settings.PROCESSES:
            raise CommandError("--workers is less than 1 or more than PORTAL_PROCESSES.", returncode=2)
        if not (settings.STATIC_ROOT / "staticfiles.json").is_file():
            raise CommandError(
                f"There are no files in {settings.STATIC_ROOT}: run manage.py collectstatic first."
            )
        where = f"--host {options['host']} --port {options['port']} --workers {options['workers']}"
        stop = f"--workers-kill-timeout {STOP_SECONDS}s"
        log = logs.server_options(settings.LOG_FORMAT)
        arguments = [*SERVER.split(), *where.split(), *stop.split(), *log, "hitobit_portal.wsgi:application"]
        os.execv(sys.executable, [sys.executable, "-m", "granian", *arguments])  # nosec B606
