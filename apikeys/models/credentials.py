"""Credentials of keys, and the networks of their allow-lists."""

from __future__ import annotations

import secrets
import string
import uuid
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Any

from django.db import connections, models
from django.db.models import Q, Value
from django.db.models.functions import Cast
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apikeys.policy.public_keys import PublicKey
from apikeys.verification import networks
from hitobit_portal.security import crypto

if TYPE_CHECKING:
    from apikeys.models.keys import ApiKey


KEY_LENGTH = 64
ALPHABET = string.ascii_letters + string.digits  # 64 characters out of 62: 381 bits


def random_text() -> str:
    """Return 64 letters and digits from the system's CSPRNG."""
    return "".join(secrets.choice(ALPHABET) for _n in range(KEY_LENGTH))


class Credential(models.Model):
    """A credential of a key: an HMAC secret (encrypted), or a public key (DER, base64)."""

    class Kind(models.TextChoices):
        HMAC = "hmac", "HMAC-SHA256"
        ED25519 = "ed25519", "Ed25519"
        RSA = "rsa", "RSA"

    key = models.ForeignKey("apikeys.ApiKey", models.CASCADE, related_name="credentials")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    serial = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    sealed = models.TextField(blank=True, editable=False)
    public_key = models.TextField(blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    revealed_at = models.DateTimeField(null=True, editable=False)
    first_used_at = models.DateTimeField(null=True, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    retires_at = models.DateTimeField(null=True, editable=False)
    #: Set if this credential replaces another: how long the other stays valid after this one's first use.
    grace_seconds = models.PositiveIntegerField(null=True, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=(Q(kind="hmac") & ~Q(sealed="") & Q(public_key=""))
                | (~Q(kind="hmac") & Q(sealed="") & ~Q(public_key="")),
                name="credential_has_secret_or_public_key",
            )
        ]

    def __str__(self) -> str:
        return self.get_kind_display()

    @classmethod
    def new(cls, key: ApiKey, public: PublicKey | None, serial: uuid.UUID | None = None) -> Credential:
        """Return an unsaved credential of ``key``: the customer's public key, or a new secret."""
        serial = serial or uuid.uuid4()
        if public is not None:
            shown = timezone.now()  # there is nothing to reveal
            kind, encoded = public.kind.value, public.encoded
            return cls(key=key, serial=serial, kind=kind, public_key=encoded, revealed_at=shown)
        credential = cls(key=key, serial=serial, kind=cls.Kind.HMAC)
        credential.sealed = crypto.seal(random_text().encode(), credential.seal_owner)
        return credential

    @property
    def seal_owner(self) -> str:
        return self.seal_owner_of(self.serial, self.key_id, self.key.owner_id)

    @staticmethod
    def seal_owner_of(serial: uuid.UUID, key: uuid.UUID, owner: int) -> str:
        """Return the additional data of the encryption.

        SECURITY: includes row, key and customer: a secret that is moved to another key, or with its key to another
        customer, cannot be decrypted.
        """
        return f"apikeys.credential:{serial}:{key}:{owner}"

    def is_live(self) -> bool:
        return self.retires_at is None or self.retires_at > timezone.now()

    def reveal(self) -> str | None:
        """Return the secret on the first call; None on all later ones.

        SECURITY: one conditional write decides; with a check before the write, up to 10 of 60 concurrent requests got
        the secret. The write is committed before the secret is read, so that a process that is killed in between shows
        it never, not twice.
        """
        is_first = Credential.objects.filter(pk=self.pk, kind=self.Kind.HMAC, revealed_at=None).update(
            revealed_at=timezone.now()
        )
        return crypto.unseal(self.sealed, self.seal_owner).decode("ascii") if is_first else None


class AllowedNetworkQuerySet(models.QuerySet["AllowedNetwork"]):
    """Entries of allow-lists."""

    def inside(self, network: IPv4Network | IPv6Network) -> AllowedNetworkQuerySet:
        """Return the entries whose addresses are all in ``network``.

        PostgreSQL orders networks by their common bits and then by the length of the prefix: those from the network to
        its last address are the ones inside it. SQLite has no such type: every entry is read and compared.
        """
        if connections[self.db].vendor == "postgresql":
            address = models.GenericIPAddressField()
            first, last = Value(str(network)), Value(str(network.broadcast_address))
            return self.alias(network=Cast("value", address)).filter(
                network__gte=Cast(first, address), network__lte=Cast(last, address)
            )
        listed = self.values_list("pk", "value").iterator(chunk_size=5_000)
        return self.filter(pk__in=[pk for pk, value in listed if _is_inside(ip_network(value), network)])


def _is_inside(entry: IPv4Network | IPv6Network, network: IPv4Network | IPv6Network) -> bool:
    return entry.version == network.version and entry.subnet_of(network)  # type: ignore[arg-type]


class AllowedNetwork(models.Model):
    """An address or network of a key's allow-list, normalised by `networks.parse_network`."""

    key = models.ForeignKey("apikeys.ApiKey", models.CASCADE, related_name="networks")
    value = models.CharField(_("IP or network"), max_length=43)

    objects = AllowedNetworkQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["key", "value"], name="a_network_once_a_key")]
        indexes = [
            models.Index(fields=["value"], name="keys_of_a_network"),
            models.Index(Cast("value", models.GenericIPAddressField()), name="keys_inside_a_network"),
        ]

    def __str__(self) -> str:
        return self.value

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.value = networks.parse_network(self.value).value
        super().save(*args, **kwargs)
