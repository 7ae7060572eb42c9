"""Second factors, their codes, and the failure counters."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _
from django_otp.models import Device

from accounts.choices.clock_drift import judge
from accounts.models.people import User


class PortalDevice(Device):
    """Base class of a factor for django-otp, so that ``is_verified()`` and its admin site work."""

    confirmed_at = models.DateTimeField(_("confirmed"), null=True)
    last_used_at = models.DateTimeField(_("last used"), null=True)

    class Meta:
        abstract = True

    def verify_token(self, token: str) -> bool:
        """Return False: only `accounts.factors.verification` verifies codes."""
        # SECURITY: django_otp.match_token() would check codes without the lock, the failure counters and the
        # approval.
        return False


class TotpDevice(PortalDevice):
    """An authenticator (RFC 6238): 30 s, 6 digits, SHA-1. ``last_step``: the last accepted time step."""

    user = models.OneToOneField(User, models.CASCADE, related_name="totp")
    seed_sealed = models.TextField(editable=False)
    last_step = models.BigIntegerField(default=-1, editable=False)
    #: No longer written: seeds are derived for each login (`accounts.access.logins.derive_seed`). The previous
    #: version still writes it.
    next_seed_sealed = models.TextField(blank=True, editable=False)
    #: Clock drift of the last accepted codes in steps: see `accounts.choices.clock_drift`.
    drifts = models.JSONField(default=list, editable=False)

    class Meta:
        verbose_name = _("authenticator")

    @property
    def drift(self) -> str:
        """The assessment of the authenticator's clock, a value of `Drift`."""
        return judge(self.drifts).value


class SmsDevice(PortalDevice):
    """The phone as a factor. ``number``: the confirmed number."""

    user = models.OneToOneField(User, models.CASCADE, related_name="sms")
    number = models.CharField(max_length=16)

    class Meta:
        verbose_name = _("confirmed phone")


class RecoveryDevice(PortalDevice):
    """The set of recovery codes of one user."""

    user = models.OneToOneField(User, models.CASCADE, related_name="recovery")

    class Meta:
        verbose_name = _("recovery codes")


class RecoveryCode(models.Model):
    """One recovery code, as a keyed digest."""

    device = models.ForeignKey(RecoveryDevice, models.CASCADE, related_name="codes")
    digest = models.CharField(max_length=96, editable=False)
    used_at = models.DateTimeField(null=True, editable=False)


class SmsCode(models.Model):
    """The one valid SMS code of a user and purpose; a resend replaces it. ``login``: digest of the login that
    requested it. ``delivery``: what is known of its message.
    """

    class Delivery(models.TextChoices):
        SENDING = "sending", "sending"
        SENT = "sent", "sent"
        FAILED = "failed", "failed"

    user = models.ForeignKey(User, models.CASCADE, related_name="sms_codes")
    purpose = models.CharField(max_length=32)
    binding = models.CharField(max_length=64)
    login = models.CharField(max_length=64, default="", db_default="", editable=False)
    digest = models.CharField(max_length=96)
    delivery = models.CharField(
        max_length=7, choices=Delivery.choices, default=Delivery.SENT, db_default=Delivery.SENT
    )
    sent_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "purpose"], name="one_sms_code_a_purpose")]


class FactorGuard(models.Model):
    """The row that is locked before codes are compared, with the failure counters.

    ``failures``: epoch seconds of the last failures, newest last. ``in_a_row``: failures since the last success.
    ``outside_*``: the same for pre-login codes (`approvals.OUTSIDE`). ``known_*``: the same for codes from known
    browsers (`known_browsers`). SECURITY: the counters are separate; otherwise anybody who knows a phone number could
    lock its owner out by wrong codes in "forgotten password", and anybody who knows the password by wrong codes in
    the login.
    """

    user = models.OneToOneField(User, models.CASCADE, related_name="guard", primary_key=True)
    failures = models.JSONField(default=list)
    in_a_row = models.PositiveIntegerField(default=0)
    outside_failures = models.JSONField(default=list)
    outside_in_a_row = models.PositiveIntegerField(default=0)
    known_failures = models.JSONField(default=list, null=True)  # null: written by the previous version
    known_in_a_row = models.PositiveIntegerField(default=0, db_default=0)
