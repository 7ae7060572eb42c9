"""``manage.py run_demo``: prepares and serves the demo; run by ``make run`` after installing the packages."""

import os
import subprocess  # nosec B404
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = (
        "Migrates, collects static files, creates the demo customer, sends notices, and serves "
        "on 127.0.0.1:$PORT (8000)."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEMO:
            raise CommandError("run_demo needs PORTAL_DEMO=true; for production see the README.")
        os.umask(0o077)  # database, codes and keys are readable by their owner only
        call_command("migrate", verbosity=0, interactive=False)
        call_command("collectstatic", verbosity=0, interactive=False, clear=False)
        call_command("create_demo")
        self.stdout.write(f"\n  portal                {settings.BASE_URL}/")
        self.stdout.write(
            f"  SMS                   this terminal, {Path(settings.DATA_DIR) / 'sms'}, {settings.BASE_URL}/demo/sms/"
        )
        self.stdout.write(f"  e-mail                {settings.EMAIL_FILE_PATH}")
        if settings.GATEWAY_PORT:
            self.stdout.write(f"  gateways              http://127.0.0.1:{settings.GATEWAY_PORT}/gateway/v1/")
        self.stdout.write("  stop                  Ctrl+C\n")
        self.stdout.flush()
        self._start("send_notices", "--loop", "--every", "1")
        if settings.GATEWAY_PORT:
            self._start("run_gateway")
        serve = f"--interface wsgi --host 127.0.0.1 --port {settings.PORT} --workers {settings.PROCESSES}"
        tune = "--blocking-threads 4 --no-ws --http 1 --log-level warning"
        # Ctrl+C reaches the workers too, and sometimes one of them never ends.
        tune += " --workers-kill-timeout 3s"
        target = "hitobit_portal.wsgi:application"
        arguments = [sys.executable, "-m", "granian", *serve.split(), *tune.split(), target]
        os.execv(sys.executable, arguments)

    def _start(self, command: str, *options: str) -> None:
        """Start a command that runs beside the server and ends with it."""
        manage = [sys.executable, str(settings.BASE_DIR / "manage.py"), command]
        arguments = [*manage, *options, "--while-pid", str(os.getpid())]
        subprocess.Popen(arguments, stdin=subprocess.DEVNULL)  # nosec B603
