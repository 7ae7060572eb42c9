"""``manage.py gateway_routes``: render the route table for a proxy."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apikeys.gateway import routes


class Command(BaseCommand):
    help = (
        "Print the route table in the form that a proxy's configuration includes. A route is one line: METHOD PATH "
        "SECURITY PERMISSION; see docs/gateway.md. What is not listed needs a signature and the permission to "
        "withdraw. "
        "Exit codes: 0 done, 1 there is a problem in the table, 2 wrong usage."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="the route table; -: standard input")
        parser.add_argument("--format", required=True, choices=sorted(routes.FORMATS), help="the proxy")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["file"]
        try:
            table = routes.parse(_text(name))
        except routes.RouteTableError as error:
            source = "standard input" if name == "-" else name
            raise CommandError("\n".join(f"{source}, {problem}" for problem in error.problems)) from None
        self.stdout.write(routes.FORMATS[options["format"]](table), ending="")


def _text(name: str) -> str:
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise CommandError(f"{name} can't be read: {error.strerror}.") from None
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise CommandError(f"{name}, line {line}: not UTF-8.") from None
