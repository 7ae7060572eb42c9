"""The API keys: permissions, networks, states.

The rules of a key are enforced here and in the database (constraints, and the triggers of migration 0002), so that no
page, form, command or admin page can bypass them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import Count, Max, Q
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from apikeys.models.credentials import KEY_LENGTH, AllowedNetwork, Credential, random_text
from apikeys.policy import account_freeze, names
from apikeys.policy.choices import LIVE_KEYS, UNRESTRICTED_TRADE, IpPolicy, KeyState, Permission, check_rules
from apikeys.policy.power import Power
from apikeys.policy.public_keys import PublicKey
from apikeys.policy.settings_change import Settings, SettingsChange
from apikeys.verification import networks
from apikeys.verification.decision import READ_GRACE_MS
from hitobit_portal.i18n.bidi import fill
from hitobit_portal.i18n.jalali import digits


class KeyLimitReached(Exception):
    """The customer already has LIVE_KEYS keys."""


class ApiKeyManager(models.Manager["ApiKey"]):
    def live(self, owner: User) -> models.QuerySet[ApiKey]:
        """Return the keys of ``owner`` that are not deleted. Their ``owner`` is this one: it is not loaded again."""
        return owner.api_keys.exclude(state=KeyState.REVOKED)

    def listed(self, owner: User) -> models.QuerySet[ApiKey]:
        """Return `live` keys with ``network_count`` and ``newest_credential_at``: one statement instead of three."""
        listed = self.live(owner).annotate(
            network_count=Count("networks", distinct=True),
            newest_credential_at=Max("credentials__created_at"),
        )
        return listed.order_by("-created_at")  # Django leaves the model's order out of what is grouped

    def create_with_secret(
        self, owner: User, label: str, wizard: uuid.UUID, public: PublicKey | None = None
    ) -> ApiKey:
        """Create a key: active, read-only, unrestricted, with ``public`` or an HMAC secret that was not shown yet.

        ``wizard`` identifies the attempt, so that a repeated submission finds this key and does not create another.
        Raises `AccountFrozen`, `KeyLimitReached`, and `django.db.IntegrityError` if the name is taken.
        """
        with transaction.atomic():
            # The owner's row is the lock for the count: 30 concurrent creations must not see 29 keys each. NO KEY: the
            # event of a key's deletion refers to this row while it holds that key's row.
            account_freeze.check_not_frozen(User.objects.select_for_update(no_key=True).get(pk=owner.pk))
            if self.live(owner).count() >= LIVE_KEYS:
                raise KeyLimitReached
            name = names.clean(label)
            key = self.create(
                owner=owner, label=name, label_folded=names.fold(name), key_id=random_text(), wizard=wizard
            )
            Credential.new(key, public).save()
        return key


class ApiKey(models.Model):
    """An API key. `key_id` is public; secrets are in `Credential`."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(User, models.PROTECT, related_name="api_keys", verbose_name=_("customer"))
    label = models.CharField(_("name"), max_length=names.MAX_LENGTH)
    label_folded = models.CharField(max_length=names.MAX_FOLDED_LENGTH, editable=False)
    key_id = models.CharField(_("API key"), max_length=KEY_LENGTH, unique=True, editable=False)
    state = models.CharField(_("state"), max_length=8, choices=KeyState.choices, default=KeyState.ACTIVE)
    can_read = models.BooleanField(_("read"), default=True)
    can_trade = models.BooleanField(_("trade"), default=False)
    can_withdraw = models.BooleanField(_("withdraw"), default=False)
    ip_policy = models.CharField(
        _("IP policy"), max_length=12, choices=IpPolicy.choices, default=IpPolicy.UNRESTRICTED
    )
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    expiry_told_days = models.PositiveSmallIntegerField(
        null=True, editable=False
    )  # see `apikeys.actions.expiry_reminders`
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    revoked_at = models.DateTimeField(_("deleted"), null=True, editable=False)
    last_used_at = models.DateTimeField(_("last used"), null=True, editable=False)
    last_used_ip = models.GenericIPAddressField(
        _("last used from"), null=True, unpack_ipv4=True, editable=False
    )
    #: End of the trade permission of an unrestricted key, unless it is renewed; None: no end.
    trade_until = models.DateTimeField(_("trading allowed until"), null=True, blank=True, editable=False)
    trade_told_days = models.PositiveSmallIntegerField(
        null=True, editable=False
    )  # see `apikeys.actions.expiry_reminders`
    allows_rescue = models.BooleanField(_("ask me about new addresses"), default=True)
    #: The last measured clock skew of the client in ms; positive: the client is ahead.
    skew_ms = models.IntegerField(null=True, editable=False)
    wizard = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    first_settings_at = models.DateTimeField(null=True, editable=False)

    objects: ClassVar[ApiKeyManager] = ApiKeyManager()

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["created_at", "id"], name="keys_by_age")]
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "label_folded"], condition=~Q(state="revoked"), name="one_live_key_a_name"
            ),
            models.CheckConstraint(condition=Q(state__in=KeyState.values), name="key_state_is_known"),
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
        """Save the key.

        SECURITY: a deleted key is never reactivated; a trigger enforces the same for writes that bypass this method.
        """
        may_exist = not self._state.adding and self.state != KeyState.REVOKED
        if may_exist and ApiKey.objects.filter(pk=self.pk, state=KeyState.REVOKED).exists():
            raise ValidationError(_("A deleted key cannot be restored."))
        super().save(*args, **kwargs)

    @property
    def permissions(self) -> frozenset[str]:
        return frozenset(value for value in Permission.values if getattr(self, f"can_{value}"))

    @property
    def listed_permissions(self) -> tuple[Permission, ...]:
        return tuple(one for one in Permission if getattr(self, f"can_{one.value}"))

    @property
    def shown_state(self) -> str:
        """Return the state for `parts/key_state.html`: the one that blocks most."""
        if self.state != KeyState.ACTIVE:
            return self.state
        if self.owner.frozen_at is not None:
            return "account_frozen"
        now = timezone.now()
        if self.expires_at is None or now < self.expires_at:
            return "lapsed" if self.trade_has_ended else "active"
        return "degraded" if now < self.reads_until else "expired"

    @property
    def reads_until(self) -> datetime:
        """Return the time at which reading ends too. Raises `ValueError` for keys that do not expire."""
        if self.expires_at is None:
            raise ValueError("this key does not expire")
        return self.expires_at + timedelta(milliseconds=READ_GRACE_MS)

    @property
    def takes_addresses(self) -> bool:
        """Whether a new address can be approved: never for a key that moves money out."""
        return self.state == KeyState.ACTIVE and self.ip_policy == IpPolicy.TRUSTED and not self.can_withdraw

    @property
    def asks_for_rescue(self) -> bool:
        """Whether a new address may ask for approval."""
        return self.takes_addresses and self.allows_rescue

    @property
    def settings(self) -> Settings:
        return Settings(
            self.permissions,
            self.ip_policy,
            tuple(network.value for network in self.networks.all()),
            self.expires_at.isoformat() if self.expires_at else "",
        )

    @property
    def power(self) -> Power:
        """What the key can do, pauses and ends left aside: see `apikeys.policy.power`."""
        now = timezone.now()
        signing = self.credentials.filter(Q(retires_at=None) | Q(retires_at__gt=now))
        return replace(
            self.settings.power,
            trades_until=self.trade_until,
            credentials=frozenset(
                (str(serial), end) for serial, end in signing.values_list("serial", "retires_at")
            ),
            runs=self.state == KeyState.ACTIVE,
        )

    @property
    def newest_serial(self) -> str:
        """The credential that was added last; "" for none."""
        return str(self.credentials.order_by("-pk").values_list("serial", flat=True).first() or "")

    @property
    def trade_has_ended(self) -> bool:
        """Whether the 90 days of an unrestricted key are over, so that it no longer trades."""
        return self.can_trade and self.trade_until is not None and self.trade_until <= timezone.now()

    @property
    def ip_summary(self) -> str:
        if self.ip_policy == IpPolicy.UNRESTRICTED:
            return gettext("Unrestricted")
        listed: int | None = getattr(self, "network_count", None)  # by `ApiKeyManager.listed`
        count = len(self.networks.all()) if listed is None else listed
        return fill(ngettext("%(n)s IP", "%(n)s IPs", count), n=digits(count))

    def set_state(self, state: KeyState) -> bool:
        """Set the state of an `active` or `frozen` key with one conditional write. Return whether that changed it."""
        before = (
            Q(state=KeyState.FROZEN) if state == KeyState.ACTIVE else ~Q(state__in=[KeyState.REVOKED, state])
        )
        changes: dict[str, Any] = {"state": state}
        if state == KeyState.REVOKED:
            changes["revoked_at"] = timezone.now()
        changed = ApiKey.objects.filter(before, pk=self.pk).update(**changes)
        self.refresh_from_db(fields=["state", "revoked_at"])
        return changed == 1

    def end_first_settings(self) -> bool:
        """End the right to make the first settings without codes. Return whether the key had it.

        Of concurrent calls only one returns True. SECURITY: the codes for the creation approve the first change as
        well. After another change, a second credential or a pause, the session that created the key needs codes like
        any other.
        """
        now = timezone.now()
        return ApiKey.objects.filter(pk=self.pk, first_settings_at=None).update(first_settings_at=now) == 1

    def apply(
        self,
        permissions: Iterable[str],
        ip_policy: str,
        values: Iterable[str],
        expires_at: datetime | Literal["as it is"] | None = "as it is",
    ) -> None:
        """Set permissions, IP policy, networks and expiry together. Raises `ValidationError` if a rule is violated."""
        wanted = frozenset(permissions)
        listed = list(dict.fromkeys(networks.parse_network(value).value for value in values))
        check_rules(wanted, ip_policy, listed)
        with transaction.atomic():
            key = ApiKey.objects.select_for_update().get(pk=self.pk)
            if key.state == KeyState.REVOKED:
                raise ValidationError(_("A deleted key cannot be restored."))
            before = key.settings
            key.networks.exclude(value__in=listed).delete()
            existing = set(key.networks.values_list("value", flat=True))
            added = [value for value in listed if value not in existing]
            if any(networks.is_too_wide(value) for value in added):  # the form reports which one
                raise ValidationError(_("The list has a network that is too wide."))
            AllowedNetwork.objects.bulk_create([AllowedNetwork(key=key, value=value) for value in added])
            key._limit_trading("trade" in wanted and ip_policy == IpPolicy.UNRESTRICTED)
            for value in Permission.values:
                setattr(key, f"can_{value}", value in wanted)
            key.ip_policy = ip_policy
            if expires_at != "as it is" and expires_at != key.expires_at:
                key.expires_at, key.expiry_told_days = expires_at, None
            key.first_settings_at = key.first_settings_at or timezone.now()
            key.save()
            if SettingsChange(before, key.settings).adds_power:
                account_freeze.check_not_frozen(key.owner)
        self.refresh_from_db()

    def _limit_trading(self, unrestricted: bool) -> None:
        """Set the end of trading from any address to 90 days from now, unless it is set already."""
        if not unrestricted:
            self.trade_until = None
        elif self.trade_until is None:
            self.trade_until, self.trade_told_days = timezone.now() + UNRESTRICTED_TRADE, None

    def renew_trade(self) -> bool:
        """Extend trading of an unrestricted key by 90 days. Return whether it is one. Raises `AccountFrozen`."""
        account_freeze.check_not_frozen(User.objects.get(pk=self.owner_id))
        until = timezone.now() + UNRESTRICTED_TRADE
        return (
            ApiKey.objects.filter(
                pk=self.pk, can_trade=True, ip_policy=IpPolicy.UNRESTRICTED, state=KeyState.ACTIVE
            ).update(trade_until=until, trade_told_days=None)
            == 1
        )
