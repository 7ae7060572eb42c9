"""``manage.py revoke_keys``: delete many keys permanently; without --yes, list them."""

from ipaddress import ip_network
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import transaction
from django.db.models import QuerySet

from accounts import audit
from accounts.management import reporting
from accounts.management.arguments import moment
from apikeys.models import AllowedNetwork, ApiKey, Credential
from apikeys.policy.choices import KeyState
from apikeys.policy.events import KeyEvent
from apikeys.verification.networks import NetworkError, parse_network
from apikeys.verification.signing import Kind
from hitobit_portal.i18n.jalali import masked_phone

#: Keys per transaction. If the command is interrupted, the complete batches are deleted and it can be run again.
BATCH = 200
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
        keys = selected(options)
        key_ids = dict(keys.values_list("pk", "key_id"))
        ids = list(key_ids)
        revoked = 0
        if options["yes"]:
            if not options["reason"]:
                raise CommandError("Give a reason with --reason; customers read it.")
            for start in range(0, len(ids), BATCH):
                revoked += revoke(ids[start : start + BATCH], options["reason"])
                if self.stderr.isatty():
                    self.stderr.write(f"\r{min(start + BATCH, len(ids))} of {len(ids)}", ending="")
        shown = ApiKey.objects.filter(pk__in=ids[:SHOWN]).select_related("owner").order_by("created_at")
        lines = [f"{key.key_id}  {masked_phone(key.owner.phone)}  {key.label}" for key in shown]
        if len(ids) > SHOWN:
            lines.append(f"... and {len(ids) - SHOWN} more")
        if options["yes"]:
            lines.append(f"{revoked} keys deleted.")
        else:
            lines.append(f"{len(ids)} keys would be deleted; add --yes --reason WHY.")
        document = {"found": len(ids), "revoked": revoked, "keys": list(key_ids.values())}
        self.write_result(options, document, *lines)


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


def trusting(text: str) -> set[Any]:
    """Return the ids of keys with an entry inside the network. Raises `CommandError`."""
    try:
        wanted = ip_network(parse_network(text).value)
    except NetworkError:
        raise CommandError("--network is not an IP address or network such as 203.0.113.0/24.") from None
    ids = set()
    for key, value in AllowedNetwork.objects.values_list("key", "value").iterator(chunk_size=5_000):
        listed = ip_network(value)
        if listed.version == wanted.version and listed.subnet_of(wanted):  # type: ignore[arg-type]
            ids.add(key)
    return ids


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
