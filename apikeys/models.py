"""Keys, what proves possession of them, and from where they may be used.

The rules of a key live here and in the database (constraints, and the triggers of migration 0002), so that no screen,
form, command or admin page gets around them.
"""

from __future__ import annotations

import secrets
import string
import uuid
from collections.abc import Iterable
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from apikeys import names, networks
from apikeys.changes import Settings
from apikeys.rules import LIVE_KEYS, IpPolicy, Permission, State, check_rules
from hitobit_portal import crypto
from hitobit_portal.jalali import digits

KEY_LENGTH = 64
ALPHABET = string.ascii_letters + string.digits  # 64 of 62 characters: 381 bits


def random_text() -> str:
    """64 letters and digits from the system's CSPRNG."""
    return "".join(secrets.choice(ALPHABET) for _n in range(KEY_LENGTH))


class KeyLimitReached(Exception):
    """The customer has LIVE_KEYS keys already."""


class ApiKeyManager(models.Manager["ApiKey"]):
    def live(self, owner: User) -> models.QuerySet[ApiKey]:
        return self.filter(owner=owner).exclude(state=State.REVOKED)

    def create_with_secret(self, owner: User, label: str, wizard: uuid.UUID) -> ApiKey:
        """A new key: active, read-only, unrestricted, with an HMAC secret that was not shown yet.

        ``wizard`` names the attempt, so that a repeated submission finds this key and makes no second one.
        Raises `KeyLimitReached`, and `django.db.IntegrityError` when the name is taken.
        """
        with transaction.atomic():
            # The owner's row is the lock under which keys are counted: 30 parallel creations must not see 29 each.
            User.objects.select_for_update().get(pk=owner.pk)
            if self.live(owner).count() >= LIVE_KEYS:
                raise KeyLimitReached
            name = names.clean(label)
            key = self.create(
                owner=owner, label=name, label_folded=names.fold(name), key_id=random_text(), wizard=wizard
            )
            credential = Credential(key=key, kind=Credential.Kind.HMAC)
            credential.sealed = crypto.seal(random_text().encode(), credential.seal_owner)
            credential.save()
        return key


class ApiKey(models.Model):
    """The thing that a customer names. `key_id` is public; what is secret stands in `Credential`."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(User, models.PROTECT, related_name="api_keys", verbose_name=_("customer"))
    label = models.CharField(_("name"), max_length=names.LONGEST)
    label_folded = models.CharField(max_length=names.LONGEST_FOLDED, editable=False)
    key_id = models.CharField(_("API key"), max_length=KEY_LENGTH, unique=True, editable=False)
    state = models.CharField(_("state"), max_length=8, choices=State.choices, default=State.ACTIVE)
    can_read = models.BooleanField(_("read"), default=True)
    can_trade = models.BooleanField(_("trade"), default=False)
    can_withdraw = models.BooleanField(_("withdraw"), default=False)
    ip_policy = models.CharField(
        _("IP policy"), max_length=12, choices=IpPolicy.choices, default=IpPolicy.UNRESTRICTED
    )
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    revoked_at = models.DateTimeField(_("deleted"), null=True, editable=False)
    last_used_at = models.DateTimeField(_("last used"), null=True, editable=False)
    last_used_ip = models.GenericIPAddressField(
        _("last used from"), null=True, unpack_ipv4=True, editable=False
    )
    wizard = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    first_settings_at = models.DateTimeField(null=True, editable=False)

    objects: ClassVar[ApiKeyManager] = ApiKeyManager()

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "label_folded"], condition=~Q(state="revoked"), name="one_live_key_a_name"
            ),
            models.CheckConstraint(condition=Q(state__in=State.values), name="key_state_is_known"),
            models.CheckConstraint(condition=Q(ip_policy__in=IpPolicy.values), name="ip_policy_is_known"),
            models.CheckConstraint(
                condition=Q(can_withdraw=False) | Q(ip_policy="trusted"), name="withdraw_needs_trusted_ips"
            ),
            models.CheckConstraint(
                condition=Q(key_id__regex=r"^[A-Za-z0-9]{64}$"), name="key_id_is_64_alphanumerics"
            ),
        ]

    def __str__(self) -> str:
        return self.label

    def save(self, *args: Any, **kwargs: Any) -> None:
        """SECURITY: a revoked key never comes back; the trigger says so for whoever gets around this."""
        alive = not self._state.adding and self.state != State.REVOKED
        if alive and ApiKey.objects.filter(pk=self.pk, state=State.REVOKED).exists():
            raise ValidationError(_("A deleted key can't be brought back."))
        super().save(*args, **kwargs)

    @property
    def permissions(self) -> frozenset[str]:
        return frozenset(value for value in Permission.values if getattr(self, f"can_{value}"))

    @property
    def permission_labels(self) -> list[tuple[str, Promise]]:
        return [(p.value, p.label) for p in Permission if p.value in self.permissions]

    @property
    def shown_state(self) -> str:
        expired = self.expires_at is not None and self.expires_at <= timezone.now()
        return "expired" if expired and self.state == State.ACTIVE else self.state

    @property
    def settings(self) -> Settings:
        return Settings(
            self.permissions, self.ip_policy, tuple(network.value for network in self.networks.all())
        )

    @property
    def ip_summary(self) -> str:
        if self.ip_policy == IpPolicy.UNRESTRICTED:
            return gettext("Unrestricted")
        count = len(self.networks.all())
        return ngettext("%(n)s IP", "%(n)s IPs", count) % {"n": digits(count)}

    def set_state(self, state: State) -> bool:
        """Moves an `active` or `frozen` key to ``state``; whether that changed anything. One conditional write."""
        before = Q(state=State.FROZEN) if state == State.ACTIVE else ~Q(state__in=[State.REVOKED, state])
        changes: dict[str, Any] = {"state": state}
        if state == State.REVOKED:
            changes["revoked_at"] = timezone.now()
        changed = ApiKey.objects.filter(before, pk=self.pk).update(**changes)
        self.refresh_from_db(fields=["state", "revoked_at"])
        return changed == 1

    def apply(self, permissions: Iterable[str], ip_policy: str, values: Iterable[str]) -> None:
        """Sets permissions, IP policy and networks together. Raises `ValidationError` when they break a rule."""
        wanted = frozenset(permissions)
        listed = list(dict.fromkeys(networks.parse_network(value).value for value in values))
        check_rules(wanted, ip_policy, listed)
        with transaction.atomic():
            key = ApiKey.objects.select_for_update().get(pk=self.pk)
            if key.state == State.REVOKED:
                raise ValidationError(_("A deleted key can't be brought back."))
            key.networks.exclude(value__in=listed).delete()
            existing = set(key.networks.values_list("value", flat=True))
            AllowedNetwork.objects.bulk_create(
                [AllowedNetwork(key=key, value=v) for v in listed if v not in existing]
            )
            for value in Permission.values:
                setattr(key, f"can_{value}", value in wanted)
            key.ip_policy = ip_policy
            key.save(update_fields=["can_read", "can_trade", "can_withdraw", "ip_policy"])
        self.refresh_from_db()


class Credential(models.Model):
    """What proves possession of a key: an HMAC secret (sealed), or a public key (DER, base64)."""

    class Kind(models.TextChoices):
        HMAC = "hmac", "HMAC-SHA256"
        ED25519 = "ed25519", "Ed25519"
        RSA = "rsa", "RSA"

    key = models.ForeignKey(ApiKey, models.CASCADE, related_name="credentials")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    serial = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    sealed = models.TextField(blank=True, editable=False)
    public_key = models.TextField(blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    revealed_at = models.DateTimeField(null=True, editable=False)
    first_used_at = models.DateTimeField(null=True, editable=False)
    retires_at = models.DateTimeField(null=True, editable=False)

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

    @property
    def seal_owner(self) -> str:
        return self.seal_owner_of(self.serial, self.key_id, self.key.owner_id)

    @staticmethod
    def seal_owner_of(serial: uuid.UUID, key: uuid.UUID, owner: int) -> str:
        """SECURITY: row, key and customer: moved to another key, or with the key to another customer, it stays shut."""
        return f"apikeys.credential:{serial}:{key}:{owner}"

    def reveal(self) -> str | None:
        """The secret, the first time this is asked; None ever after.

        SECURITY: one conditional write decides; a check before it showed the secret to up to 10 of 60 at once.
        It is committed before the secret is read, so a process killed in between shows it never, not twice.
        """
        won = Credential.objects.filter(pk=self.pk, kind=self.Kind.HMAC, revealed_at=None).update(
            revealed_at=timezone.now()
        )
        return crypto.unseal(self.sealed, self.seal_owner).decode("ascii") if won else None


class AllowedNetwork(models.Model):
    """One address or network of a key's allow-list, normalised by `networks.parse_network`."""

    key = models.ForeignKey(ApiKey, models.CASCADE, related_name="networks")
    value = models.CharField(_("IP or network"), max_length=43)

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["key", "value"], name="a_network_once_a_key")]

    def __str__(self) -> str:
        return self.value

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.value = networks.parse_network(self.value).value
        super().save(*args, **kwargs)
