"""``manage.py explain_request``: the request debugger as a command."""

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
        "Explain why the gateway rejects a signed request (a curl command, the text of an HTTP request, or a URL): "
        "the nine checks, the causes, and how to fix them. The request is checked against the stored key that it "
        "names, or against --key. Never asks for a secret; a secret in the request is masked. Records an audit event. "
        "Exit codes: 0 the request is valid, 1 it is rejected or cannot be explained, 2 wrong usage."
    )
    json_shape = (
        '{"right", "answer", "causes", "doubts", "hints", "checks", "payload", "signed", "skew_ms", ...}'
    )

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file", nargs="?", default="-", help="file with the request; - (default): standard input"
        )
        parser.add_argument(
            "--body", metavar="FILE", help="file with the body; replaces the body in the request"
        )
        parser.add_argument(
            "--key",
            default="",
            metavar="KEY_ID",
            help="id of a key of the customer; used if the request names none of the customer's keys",
        )
        parser.add_argument("--address", type=_address, help="IP address of the client")
        parser.add_argument(
            "--permission", choices=Permission.values, default="", help="permission that the request needs"
        )
        parser.add_argument(
            "--at", type=_moment, help="time of sending: ms since 1970, or 2026-11-22T13:38:51"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        body = _text(options["body"]) if options["body"] else ""
        request = cli_report.ExplainRequest(
            _text(options["file"]),
            body,
            options["key"],
            options["address"] or "",
            options["permission"],
            options["at"],
        )
        with translation.override("en"):
            try:
                explanation = cli_report.explain(request)
            except cli_report.ExplainError as error:
                raise CommandError(f"Not explained: {error}.") from None
            key = explanation.key
            audit.record(
                Event.STAFF_VIEWED, None, customer=key.owner, target=str(key.pk), label=key.label,
                page="key", via="command", operator=audit.operator(),
            )  # fmt: skip
            document = cli_report.as_document(explanation)
            self.write_result(options, document, *cli_report.as_lines(document))
        if not document["right"]:
            raise SystemExit(1)


def _text(path: str) -> str:
    """Read the file, at most one byte more than can be explained."""
    try:
        if path == "-":
            raw = sys.stdin.buffer.read(4 * request_parser.MAX_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                raw = file.read(4 * request_parser.MAX_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{path} can't be read: {error.strerror}.") from None
    return raw.decode("utf-8", "replace")


def _address(text: str) -> str:
    if parse_address(text) is None:
        raise ArgumentTypeError(f"{text!r} is not an IP address")
    return text


def _moment(text: str) -> int:
    time_ms = request_parser.parse_time_ms(text)
    if time_ms is None:
        raise ArgumentTypeError(
            f"{text!r} is not a time such as 2026-11-22T13:38:51 or milliseconds since 1970"
        )
    return time_ms
