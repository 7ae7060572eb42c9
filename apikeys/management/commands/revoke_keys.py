"""``manage.py revoke_keys``: delete many keys permanently; without --yes, list them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError, CommandParser
from django.db import transaction
from django.db.models import QuerySet

from accounts import audit
from accounts.management import reporting
from accounts.management.arguments import moment, progress
from apikeys.models import AllowedNetwork, ApiKey, Credential
from apikeys.policy.choices import KeyState
from apikeys.policy.events import KeyEvent
from apikeys.verification.networks import NetworkError, parse_network
from apikeys.verification.signing import Kind
from hitobit_portal.i18n.jalali import masked_phone

#: Keys per transaction. If the command is interrupted, the complete batches are deleted and it can be run again.
BATCH = 200
#: Rows that are read at once.
READ = 5_000
ID_BYTES = 16
SHOWN = 20
SELECTORS = ("customer", "key", "network", "kind", "created_after", "created_before", "all")


class Command(reporting.ReportingCommand):
    help = (
        "Delete keys permanently, with immediate effect. Without --yes, only list them: check the list first. "
        "Selectors are combined: a key must match all of them. " + reporting.EXIT_CODES
    )
    json_shape = '{"found", "revoked", "keys"}'

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--customer", type=reporting.phone, metavar="PHONE", help="keys of this account")
        parser.add_argument(
            "--key", action="append", metavar="KEY_ID", help="this public id; may be repeated"
        )
        parser.add_argument(
            "--network", metavar="CIDR", help="keys that trust an address or network inside this one"
        )
        parser.add_argument(
            "--kind", choices=[kind.value for kind in Kind], help="keys with a credential of this kind"
        )
        parser.add_argument(
            "--created-after", type=moment, metavar="TIME", help="created at this time or later"
        )
        parser.add_argument("--created-before", type=moment, metavar="TIME", help="created before this time")
        parser.add_argument("--all", action="store_true", help="all keys")
        parser.add_argument(
            "--reason", type=reporting.reason, help="the reason, which customers read. Required with --yes"
        )
        parser.add_argument("--yes", action="store_true", help="delete them")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["yes"] and not options["reason"]:
            raise CommandError("Give a reason with --reason; customers read it.")
        batches = Batches(selected(options))
        revoked = 0
        if options["yes"]:
            for done, ids in batches.counted(BATCH):
                revoked += revoke(ids, options["reason"])
                progress(done, batches.count)
        if options["json"]:
            self._write_json(batches, revoked)
            return
        first = batches.first(SHOWN)
        shown = ApiKey.objects.filter(pk__in=first).select_related("owner").order_by("created_at", "pk")
        lines = [f"{key.key_id}  {masked_phone(key.owner.phone)}  {key.label}" for key in shown]
        if batches.count > SHOWN:
            lines.append(f"... and {batches.count - SHOWN} more")
        if options["yes"]:
            lines.append(f"{revoked} keys deleted.")
        else:
            lines.append(f"{batches.count} keys would be deleted; add --yes --reason WHY.")
        self.write_result(options, {}, *lines)

    def _write_json(self, batches: Batches, revoked: int) -> None:
        """Write the document with the ids batch by batch: of 400,000 keys it has 27 MB."""
        head = json.dumps({"found": batches.count, "revoked": revoked, "keys": []})
        self.stdout.write(head.removesuffix("]}"), ending="")
        separator = ""
        for _done, ids in batches.counted(READ):
            key_ids = dict(ApiKey.objects.filter(pk__in=ids).values_list("pk", "key_id"))
            for key_id in (key_ids[pk] for pk in ids if pk in key_ids):
                self.stdout.write(separator + json.dumps(key_id), ending="")
                separator = ", "
        self.stdout.write("]}")


class Batches:
    """The ids of selected keys as they are now, in batches. Kept as 16 bytes each: 6 MB for 400,000 keys."""

    def __init__(self, keys: QuerySet[ApiKey]) -> None:
        ids = keys.values_list("pk", flat=True).iterator(chunk_size=READ)
        self._ids = b"".join(pk.bytes for pk in ids)
        self.count = len(self._ids) // ID_BYTES

    def first(self, number: int) -> list[UUID]:
        return self._part(0, min(number, self.count))

    def counted(self, size: int) -> Iterator[tuple[int, list[UUID]]]:
        """Yield each batch of ``size`` keys, with the number of keys up to its end."""
        for start in range(0, self.count, size):
            end = min(start + size, self.count)
            yield end, self._part(start, end)

    def _part(self, start: int, end: int) -> list[UUID]:
        return [UUID(bytes=self._ids[n * ID_BYTES : (n + 1) * ID_BYTES]) for n in range(start, end)]


def selected(options: dict[str, Any]) -> QuerySet[ApiKey]:
    """Return the live keys that match the selectors. Raises `CommandError` if there is no selector."""
    keys = ApiKey.objects.exclude(state=KeyState.REVOKED).order_by("created_at", "pk")
    # An empty value is most likely an unset shell variable: if it was ignored, the other selectors would match more
    # keys than intended.
    if any(options[name] in ("", []) for name in SELECTORS):
        raise CommandError("One of the selectors is empty.")
    if not any(options[name] for name in SELECTORS):
        wanted = ", ".join(f"--{name.replace('_', '-')}" for name in SELECTORS)
        raise CommandError(f"Select keys with {wanted}.")
    if options["customer"]:
        keys = keys.filter(owner=reporting.get_account(options["customer"]))
    if options["key"]:
        known = set(ApiKey.objects.filter(key_id__in=options["key"]).values_list("key_id", flat=True))
        if unknown := [name for name in options["key"] if name not in known]:
            # A misspelt key id must not look like success: the key would stay active.
            raise CommandError(f"There is no such key: {', '.join(unknown)}. Nothing was deleted.")
        keys = keys.filter(key_id__in=options["key"])
    if options["network"]:
        keys = keys.filter(pk__in=trusting(options["network"]))
    if options["kind"]:
        keys = keys.filter(pk__in=Credential.objects.filter(kind=options["kind"]).values("key"))
    if options["created_after"]:
        keys = keys.filter(created_at__gte=options["created_after"])
    if options["created_before"]:
        keys = keys.filter(created_at__lt=options["created_before"])
    return keys


def trusting(text: str) -> QuerySet[AllowedNetwork, Any]:
    """Return the ids of keys with an entry inside the network. Raises `CommandError`."""
    try:
        wanted = ip_network(parse_network(text).value)
    except NetworkError:
        raise CommandError("--network is not an IP address or network such as 203.0.113.0/24.") from None
    return AllowedNetwork.objects.inside(wanted).order_by().values("key")


def revoke(ids: list[Any], reason: str) -> int:
    """Delete keys in one transaction and return how many were live. Ordered by id, so that two runs cannot deadlock."""
    count = 0
    with transaction.atomic():
        for key in ApiKey.objects.filter(pk__in=ids).select_related("owner").order_by("pk"):
            if key.set_state(KeyState.REVOKED):
                audit.record(
                    KeyEvent.REVOKED, None, customer=key.owner, target=str(key.pk), label=key.label,
                    via="command", operator=audit.operator(), reason=reason,
                )  # fmt: skip
                count += 1
    return count
