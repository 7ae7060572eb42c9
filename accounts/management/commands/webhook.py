"""``manage.py webhook``: systems that are told of events."""

import json
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import audit
from accounts.models import WebhookDelivery, WebhookEndpoint
from accounts.webhooks import endpoints, filters
from accounts.webhooks.endpoints import EndpointError

PAGE = 50
ACTIONS = "create|list|update|rotate|test|deliveries|resend|delete"


class Command(BaseCommand):
    help = (
        "create NAME URL prints the secret that signs, which is not shown again; rotate NAME prints a new one. test "
        "NAME sends a test event, deliveries NAME shows what became of the last ones, resend sends them again. Exit "
        "codes: 0 done, 1 refused, 2 wrong usage."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON for scripts")
        actions = parser.add_subparsers(dest="action", required=True, metavar=ACTIONS)
        added = {name: actions.add_parser(name) for name in ACTIONS.split("|")}
        for name, action in added.items():
            action.add_argument("--json", action="store_true", default=None)
            if name != "list":
                action.add_argument("name", help="name of the webhook, such as risk")
        added["create"].add_argument("url", help="https:// address without user and query")
        added["update"].add_argument("--url", help="the new address; the old one is told of it")
        events = "events, groups such as key.*, or '*'; docs/events.md lists them"
        added["create"].add_argument("--events", required=True, metavar="EVENT,…", help=events)
        added["update"].add_argument("--events", metavar="EVENT,…", help=events)
        states = added["update"].add_mutually_exclusive_group()
        states.add_argument("--pause", action="store_true", help="send nothing; events wait")
        states.add_argument("--resume", action="store_true", help="send what waits")
        added["rotate"].add_argument(
            "--hours", type=int, default=24, help="how long the old secret signs too (24); 0: it ends at once"
        )
        added["deliveries"].add_argument(
            "--given-up", action="store_true", help="only those that were given up"
        )
        added["resend"].add_argument("--message", metavar="ID", help="one message, msg_…")
        added["resend"].add_argument("--given-up", action="store_true", help="all that were given up")

    def handle(self, *args: Any, **options: Any) -> None:
        self.as_json = bool(options["json"])
        self.by: dict[str, Any] = {"via": "command", "operator": audit.operator()}
        actions: dict[str, Callable[[dict[str, Any]], None]] = {
            "create": self._create,
            "list": self._list,
            "update": self._update,
            "rotate": self._rotate,
            "test": self._test,
            "deliveries": self._deliveries,
            "resend": self._resend,
            "delete": self._delete,
        }
        try:
            actions[options["action"]](options)
        except EndpointError as error:
            raise CommandError(str(error)) from None

    def _create(self, options: dict[str, Any]) -> None:
        name = options["name"].strip()
        if not 1 <= len(name) <= 64:
            raise CommandError("A name has 1 to 64 characters.", returncode=2)
        _endpoint, secret = endpoints.create(name, options["url"], _events(options["events"]), **self.by)
        self._write({"name": name, "secret": secret}, secret)

    def _update(self, options: dict[str, Any]) -> None:
        is_active = True if options["resume"] else False if options["pause"] else None
        if options["url"] is None and options["events"] is None and is_active is None:
            raise CommandError("Nothing to change: --url, --events, --pause or --resume.", returncode=2)
        endpoint = endpoints.change(
            options["name"],
            url=options["url"],
            events=_events(options["events"]) if options["events"] is not None else None,
            is_active=is_active,
            **self.by,
        )
        self._write(_row(endpoint), _line(endpoint))

    def _rotate(self, options: dict[str, Any]) -> None:
        overlap = timedelta(hours=options["hours"]) if 0 <= options["hours"] <= 10_000 else timedelta.max
        if overlap > endpoints.MAX_OVERLAP:
            raise CommandError("--hours is 0 to 720.", returncode=2)
        secret = endpoints.rotate(options["name"], overlap, **self.by)
        self._write({"name": options["name"], "secret": secret}, secret)

    def _test(self, options: dict[str, Any]) -> None:
        endpoints.send_test(_endpoint(options["name"]), **self.by)
        self._write({"name": options["name"], "sent": True}, "The test event is in the outbox.")

    def _delete(self, options: dict[str, Any]) -> None:
        endpoints.delete(options["name"], **self.by)
        self._write({"name": options["name"], "deleted": True}, f"{options['name']}: deleted.")

    def _list(self, options: dict[str, Any]) -> None:
        rows = list(WebhookEndpoint.objects.all())
        self._write([_row(row) for row in rows], *map(_line, rows))

    def _deliveries(self, options: dict[str, Any]) -> None:
        rows = WebhookDelivery.objects.filter(endpoint=_endpoint(options["name"])).order_by("-created_at")
        if options["given_up"]:
            rows = rows.filter(gave_up_at__isnull=False)
        shown = list(rows.select_related("endpoint")[:PAGE])
        self._write([_delivery(row) for row in shown], *(_delivery_line(row) for row in shown))

    def _resend(self, options: dict[str, Any]) -> None:
        rows = WebhookDelivery.objects.filter(endpoint=_endpoint(options["name"])).select_related("endpoint")
        if bool(options["message"]) == options["given_up"]:
            raise CommandError("Give either --message or --given-up.", returncode=2)
        if options["given_up"]:
            rows = rows.filter(gave_up_at__isnull=False)
        else:
            rows = rows.filter(pk=_message(options["message"]))
            if not rows.exists():
                raise CommandError("There is no such message. See 'webhook deliveries'.")
        count = sum(endpoints.send_again(row, **self.by) for row in rows.order_by("number").iterator())
        self._write({"name": options["name"], "resent": count}, f"{count} in the outbox again.")

    def _write(self, document: Any, *lines: str) -> None:
        for line in [json.dumps(document)] if self.as_json else lines:
            self.stdout.write(line)


def _events(text: str) -> list[str]:
    try:
        return filters.parse(text)
    except ValueError as error:
        raise CommandError(
            f"--events: {str(error)!r} matches no event; docs/events.md lists them.", returncode=2
        ) from None


def _message(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(hex=text.removeprefix("msg_"))
    except ValueError:
        raise CommandError("--message takes an id such as msg_0123…", returncode=2) from None


def _endpoint(name: str) -> WebhookEndpoint:
    endpoint = WebhookEndpoint.objects.filter(name=name).first()
    if endpoint is None:
        raise EndpointError("There is no such webhook. See 'webhook list'.")
    return endpoint


def _row(endpoint: WebhookEndpoint) -> dict[str, Any]:
    return {
        "name": endpoint.name,
        "url": endpoint.url,
        "events": endpoint.events,
        "active": endpoint.is_active,
        "created_at": endpoint.created_at.isoformat(),
        "number": endpoint.number,
        "sequence": endpoint.sequence,
        "old_secret_until": _iso(endpoint.old_secret_until),
    }


def _line(endpoint: WebhookEndpoint) -> str:
    state = "active" if endpoint.is_active else "paused"
    return f"{endpoint.name}  {endpoint.url}  {','.join(endpoint.events)}  {state}  {endpoint.number} events"


def _delivery(row: WebhookDelivery) -> dict[str, Any]:
    return {
        "message": row.message_id,
        "number": row.number,
        "created_at": row.created_at.isoformat(),
        "attempts": row.attempts,
        "status": row.status,
        "error": row.error,
        "took_ms": row.took_ms,
        "next_try_at": None if row.delivered_at or row.gave_up_at else row.next_try_at.isoformat(),
        "delivered_at": _iso(row.delivered_at),
        "gave_up_at": _iso(row.gave_up_at),
    }


def _delivery_line(row: WebhookDelivery) -> str:
    if row.delivered_at:
        state = f"delivered {row.delivered_at.isoformat()}"
    elif row.gave_up_at:
        state = f"given up {row.gave_up_at.isoformat()}"
    else:
        state = f"waits until {row.next_try_at.isoformat()}"
    answer = row.status or row.error or "not sent yet"
    return f"{row.message_id}  #{row.number or '-'}  {state}  {row.attempts} attempts, last: {answer}"


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
