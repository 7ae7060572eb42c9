"""People, their factors, what counts against guessing, and the audit trail."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django_otp.models import Device

from accounts.events import Event
from hitobit_portal.fields import parse_phone


class UserManager(BaseUserManager["User"]):
    """Creates people by phone number, in any spelling."""

    def create_user(self, phone: str, password: str | None = None, **fields: Any) -> User:
        """Raises `ValueError` when ``phone`` is no phone number."""
        number = parse_phone(phone)
        if number is None:
            raise ValueError("phone is not a phone number")
        user = self.model(phone=number, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, phone: str, password: str | None = None, **fields: Any) -> User:
        return self.create_user(phone, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(phone=parse_phone(username or "") or "")


class User(AbstractBaseUser, PermissionsMixin):
    """A customer or a member of staff, identified by phone (E.164)."""

    phone = models.CharField(_("mobile number"), max_length=16, unique=True)
    name = models.CharField(_("name"), max_length=80, blank=True)
    is_active = models.BooleanField(_("active"), default=True)
    is_staff = models.BooleanField(_("staff"), default=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    objects: ClassVar[UserManager] = UserManager()
    USERNAME_FIELD = "phone"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        verbose_name = _("customer")
        verbose_name_plural = _("customers")

    def __str__(self) -> str:
        return self.name or self.phone

    def is_verified(self) -> bool:
        """Whether a second factor was proved in this session; django-otp's middleware answers in place of this."""
        return False

    @property
    def has_both_factors(self) -> bool:
        """Whether both mandatory factors are confirmed."""
        return self.has_authenticator and self.has_phone

    @property
    def has_authenticator(self) -> bool:
        totp = getattr(self, "totp", None)
        return bool(totp and totp.confirmed)

    @property
    def has_phone(self) -> bool:
        """Whether the SMS factor is confirmed, and for the number that the account has now."""
        sms = getattr(self, "sms", None)
        return bool(sms and sms.confirmed and sms.number == self.phone)


class PortalDevice(Device):
    """A factor as django-otp knows it, so that ``is_verified()`` and its admin site work."""

    confirmed_at = models.DateTimeField(_("confirmed"), null=True)
    last_used_at = models.DateTimeField(_("last used"), null=True)

    class Meta:
        abstract = True

    def verify_token(self, token: str) -> bool:
        """Never: codes are checked by `accounts.otp` alone."""
        # SECURITY: django_otp.match_token() would check codes without our lock, our count and our purposes.
        return False


class TotpDevice(PortalDevice):
    """An authenticator (RFC 6238): 30 s, 6 digits, SHA-1. ``last_step`` is the last accepted time step."""

    user = models.OneToOneField(User, models.CASCADE, related_name="totp")
    seed_sealed = models.TextField(editable=False)
    last_step = models.BigIntegerField(default=-1, editable=False)

    class Meta:
        verbose_name = _("authenticator")


class SmsDevice(PortalDevice):
    """The phone as a factor; ``number`` is the one that was confirmed."""

    user = models.OneToOneField(User, models.CASCADE, related_name="sms")
    number = models.CharField(max_length=16)

    class Meta:
        verbose_name = _("confirmed phone")


class RecoveryDevice(PortalDevice):
    """The set of recovery codes of one person."""

    user = models.OneToOneField(User, models.CASCADE, related_name="recovery")

    class Meta:
        verbose_name = _("recovery codes")


class RecoveryCode(models.Model):
    """One recovery code, as a keyed digest."""

    device = models.ForeignKey(RecoveryDevice, models.CASCADE, related_name="codes")
    digest = models.CharField(max_length=96, editable=False)
    used_at = models.DateTimeField(null=True, editable=False)


class SmsCode(models.Model):
    """The one live SMS code of a person and purpose; a resend replaces it."""

    user = models.ForeignKey(User, models.CASCADE, related_name="sms_codes")
    purpose = models.CharField(max_length=32)
    binding = models.CharField(max_length=64)
    digest = models.CharField(max_length=96)
    sent_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "purpose"], name="one_sms_code_a_purpose")]


class FactorGuard(models.Model):
    """What is locked before any code is compared, and the count of failures.

    ``failures``: epoch seconds of the last failures, newest last. ``in_a_row``: failures since the last success.
    """

    user = models.OneToOneField(User, models.CASCADE, related_name="guard", primary_key=True)
    failures = models.JSONField(default=list)
    in_a_row = models.PositiveIntegerField(default=0)


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    """Reading only: what happened is not edited."""

    def update(self, **kwargs: Any) -> int:
        raise TypeError("audit events are append-only")

    def delete(self) -> tuple[int, dict[str, int]]:
        raise TypeError("audit events are append-only")


class AuditEvent(models.Model):
    """Who did what, on what, from where, and how it ended. Append-only."""

    at = models.DateTimeField(_("time"), default=timezone.now, db_index=True)
    event = models.CharField(_("event"), max_length=40, choices=Event.choices())
    actor = models.ForeignKey(
        User, models.DO_NOTHING, null=True, related_name="+", db_constraint=False, verbose_name=_("actor")
    )
    customer = models.ForeignKey(
        User, models.DO_NOTHING, null=True, related_name="+", db_constraint=False, verbose_name=_("customer")
    )
    target = models.CharField(_("target"), max_length=64, blank=True)
    label = models.CharField(_("label"), max_length=80, blank=True)
    succeeded = models.BooleanField(_("succeeded"), default=True)
    address = models.CharField(_("address"), max_length=45, blank=True)
    agent = models.CharField(_("browser"), max_length=200, blank=True)
    request_id = models.CharField(_("request"), max_length=32, blank=True)
    detail = models.JSONField(_("detail"), default=dict, blank=True)

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        verbose_name = _("security event")
        verbose_name_plural = _("security events")
        ordering = ["-at", "-id"]
        indexes = [models.Index(fields=["customer", "-at"], name="events_of_a_customer")]

    def __str__(self) -> str:
        return f"{self.event} {self.at:%Y-%m-%d %H:%M:%S}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk is not None:
            raise TypeError("audit events are append-only")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise TypeError("audit events are append-only")
