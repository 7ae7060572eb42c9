"""Login sessions, trusted devices, invitations and scheduled changes."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models.people import User


class LoginSession(models.Model):
    """One finished login. Deleting the row ends it; the browser's session only holds its id."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="login_sessions")
    started_at = models.DateTimeField(_("since"), default=timezone.now)
    seen_at = models.DateTimeField(_("last seen"), default=timezone.now)
    address = models.CharField(_("address"), max_length=45, blank=True)
    agent = models.CharField(_("browser"), max_length=200, blank=True)
    method = models.CharField(max_length=16, blank=True)

    class Meta:
        verbose_name = _("session")
        ordering = ["-seen_at"]


class ImportedHashKind(models.Model):
    """A kind of imported password hashes (algorithm and cost), and a hash of this kind that no password has.

    A failed login does the work of each kind (`accounts.access.imported_hashes`).
    """

    kind = models.CharField(max_length=64, unique=True)
    stand_in = models.CharField(max_length=128)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = _("kind of imported password hashes")


class TrustedDevice(models.Model):
    """A browser that skips the second factor of the login until ``expires_at``. ``digest``: keyed digest of its
    cookie.
    """

    user = models.ForeignKey(User, models.CASCADE, related_name="trusted_devices")
    digest = models.CharField(max_length=96, unique=True, editable=False)
    agent = models.CharField(_("browser"), max_length=200, blank=True)
    address = models.CharField(_("address"), max_length=45, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    used_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()

    class Meta:
        verbose_name = _("trusted device")
        ordering = ["-used_at"]


class Invitation(models.Model):
    """A phone number that may sign up once, by a signed link, until ``expires_at``."""

    phone = models.CharField(_("mobile number"), max_length=16)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)


class DelayedChange(models.Model):
    """A scheduled change of factors: takes effect at ``due_at`` unless it is stopped before.

    ``phone``: the new number (E.164) for a lost phone; "" if both factors are reset.
    """

    class Kind(models.TextChoices):
        PHONE = "phone", _("new mobile number")
        FACTORS = "factors", _("two-factor reset")

    user = models.ForeignKey(User, models.CASCADE, related_name="delayed_changes")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    phone = models.CharField(max_length=16, blank=True)
    reason = models.CharField(max_length=200, blank=True)
    asked_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField()
    stopped_at = models.DateTimeField(null=True)
    #: Stopped by the link in a notice, without a login: a thief with the phone can do that too.
    stopped_by_link = models.BooleanField(default=False, db_default=False)
    done_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "kind"],
                condition=Q(stopped_at=None, done_at=None),
                name="one_waiting_change_a_kind",
            )
        ]
