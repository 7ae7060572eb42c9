"""``manage.py explain_request``: the request debugger on the command line."""

import sys
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import translation

from accounts import audit
from accounts.choices.events import Event
from accounts.management import reporting
from apikeys.debugger import cli_report, request_parser
from apikeys.policy.choices import Permission
from hitobit_portal.http.client_ip import parse_address


class Command(reporting.ReportingCommand):
    help = (
        "Reads a signed request (a curl command, the text of an HTTP request, or a URL) and says why the gateway "
        "refuses it: nine checks, the named causes, what to do. It is compared with the stored key that it names, or "
        "with --key. Never asks for a secret; one that is in the request is masked. The look leaves an event. "
        "Exit codes: 0 the request is right, 1 it is refused or can't be explained, 2 wrong usage."
    )
    json_shape = (
        '{"right", "answer", "causes", "doubts", "hints", "checks", "payload", "signed", "skew_ms", ...}'
    )

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file", nargs="?", default="-", help="file with the request; - (default): standard input"
        )
        parser.add_argument(
            "--body", metavar="FILE", help="file with the body, in place of the request's own"
        )
        parser.add_argument(
            "--key",
            default="",
            metavar="KEY_ID",
            help="a key of the customer's; the one that is meant if the request itself names none of theirs",
        )
        parser.add_argument("--address", type=_address, help="from where it was sent")
        parser.add_argument("--permission", choices=Permission.values, default="", help="what it needs")
        parser.add_argument(
            "--at", type=_moment, help="when it was sent: ms since 1970, or 2026-11-22T13:38:51"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        body = _text(options["body"]) if options["body"] else ""
        asked = cli_report.Asked(
            _text(options["file"]),
            body,
            options["key"],
            options["address"] or "",
            options["permission"],
            options["at"],
        )
        with translation.override("en"):
            try:
                found = cli_report.of(asked)
            except cli_report.Refused as refused:
                raise CommandError(f"Not explained: {refused}.") from None
            audit.record(
                Event.STAFF_VIEWED, None, customer=found.key.owner, target=str(found.key.pk), label=found.key.label,
                page="key", via="command", operator=audit.operator(),
            )  # fmt: skip
            told = cli_report.document(found)
            self.write_result(options, told, *cli_report.lines(told))
        if not told["right"]:
            raise SystemExit(1)


def _text(path: str) -> str:
    """At most what can be explained, and one more, by which that is seen."""
    try:
        if path == "-":
            raw = sys.stdin.buffer.read(4 * request_parser.LONGEST + 1)
        else:
            with Path(path).open("rb") as file:
                raw = file.read(4 * request_parser.LONGEST + 1)
    except OSError as error:
        raise CommandError(f"{path} can't be read: {error.strerror}.") from None
    return raw.decode("utf-8", "replace")


def _address(text: str) -> str:
    if parse_address(text) is None:
        raise ArgumentTypeError(f"{text!r} is no IP address")
    return text


def _moment(text: str) -> int:
    moment = request_parser.moment_ms(text)
    if moment is None:
        raise ArgumentTypeError(f"{text!r} is no time such as 2026-11-22T13:38:51 or milliseconds since 1970")
    return moment
