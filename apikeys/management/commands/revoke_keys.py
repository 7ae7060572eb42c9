"""``manage.py revoke_keys``: ends many keys for good, after it has shown which."""

from ipaddress import ip_network
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import transaction
from django.db.models import QuerySet

from accounts import audit
from accounts.management import reporting
from accounts.management.typed import moment
from apikeys.models import AllowedNetwork, ApiKey, Credential
from apikeys.policy.choices import KeyState
from apikeys.policy.events import KeyEvent
from apikeys.verification.networks import NetworkError, parse_network
from apikeys.verification.signing import Kind
from hitobit_portal.i18n.jalali import masked_phone

#: Keys of one transaction: one that is interrupted has ended the others, and is run again.
BATCH = 200
SHOWN = 20
SELECTORS = ("customer", "key", "network", "kind", "created_after", "created_before", "all")


class Command(reporting.ReportingCommand):
    help = (
        "Deletes keys for good, at once in force. Without --yes it only shows which: look at them first. Selectors are "
        "combined: a key must match all of them. " + reporting.EXIT_CODES
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
        parser.add_argument("--kind", choices=[kind.value for kind in Kind], help="keys that sign like this")
        parser.add_argument("--created-after", type=moment, metavar="TIME", help="made at this time or later")
        parser.add_argument("--created-before", type=moment, metavar="TIME", help="made before this time")
        parser.add_argument("--all", action="store_true", help="every key there is")
        parser.add_argument(
            "--reason", type=reporting.reason, help="why; customers read it. Needed with --yes"
        )
        parser.add_argument("--yes", action="store_true", help="delete them")

    def handle(self, *args: Any, **options: Any) -> None:
        keys = selected(options)
        found = dict(keys.values_list("pk", "key_id"))
        ids = list(found)
        revoked = 0
        if options["yes"]:
            if not options["reason"]:
                raise CommandError("Say why with --reason; customers read it.")
            for start in range(0, len(ids), BATCH):
                revoked += revoke(ids[start : start + BATCH], options["reason"])
                if self.stderr.isatty():
                    self.stderr.write(f"\r{min(start + BATCH, len(ids))} of {len(ids)}", ending="")
        shown = ApiKey.objects.filter(pk__in=ids[:SHOWN]).select_related("owner").order_by("created_at")
        lines = [f"{key.key_id}  {masked_phone(key.owner.phone)}  {key.label}" for key in shown]
        if len(ids) > SHOWN:
            lines.append(f"... and {len(ids) - SHOWN} more")
        would = f"{len(ids)} keys would be deleted; add --yes --reason WHY."
        said = f"{revoked} keys deleted." if options["yes"] else would
        document = {"found": len(ids), "revoked": revoked, "keys": list(found.values())}
        self.tell(options, document, *lines, said)


def selected(options: dict[str, Any]) -> QuerySet[ApiKey]:
    """The live keys that match. Raises `CommandError` when nothing was asked for."""
    keys = ApiKey.objects.exclude(state=KeyState.REVOKED).order_by("created_at", "pk")
    # An empty value is most likely a variable that is not set: left out, the others would hit more than was meant.
    if any(options[name] in ("", []) for name in SELECTORS):
        raise CommandError("One of the selectors is empty.")
    if not any(options[name] for name in SELECTORS):
        wanted = ", ".join(f"--{name.replace('_', '-')}" for name in SELECTORS)
        raise CommandError(f"Say which keys: {wanted}.")
    if options["customer"]:
        keys = keys.filter(owner=reporting.account(options["customer"]))
    if options["key"]:
        known = set(ApiKey.objects.filter(key_id__in=options["key"]).values_list("key_id", flat=True))
        if unknown := [name for name in options["key"] if name not in known]:
            # In a hurry after a leak, a misspelt key that stays alive must not look like success.
            raise CommandError(f"There is no such key: {', '.join(unknown)}. Nothing was done.")
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
    """Ids of keys that list something inside the network. Raises `CommandError`."""
    try:
        wanted = ip_network(parse_network(text).value)
    except NetworkError:
        raise CommandError("--network is no IP address or network such as 203.0.113.0/24.") from None
    found = set()
    for key, value in AllowedNetwork.objects.values_list("key", "value").iterator(chunk_size=5_000):
        listed = ip_network(value)
        if listed.version == wanted.version and listed.subnet_of(wanted):  # type: ignore[arg-type]
            found.add(key)
    return found


def revoke(ids: list[Any], reason: str) -> int:
    """One transaction; how many were alive. In the order of their ids: two of these at once don't wait in a ring."""
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
