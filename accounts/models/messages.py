"""Outgoing messages: notices in the outbox, and the result of each SMS. Texts and codes are never stored."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models.people import User
from accounts.models.trail import AuditEvent


class Notice(models.Model):
    """One security notice: an event, sent to one address by one channel. Its text is made when it is sent."""

    class Channel(models.TextChoices):
        SMS = "sms", _("SMS")
        EMAIL = "email", _("e-mail")

    class Priority(models.IntegerChoices):
        """The order in which waiting notices are sent (`accounts.notifications.policy.priority`)."""

        URGENT = 0, "urgent"
        NORMAL = 1, "normal"
        BULK = 2, "bulk"

    user = models.ForeignKey(User, models.CASCADE, related_name="notices")
    event = models.ForeignKey(AuditEvent, models.DO_NOTHING, related_name="notices", db_constraint=False)
    channel = models.CharField(max_length=5, choices=Channel.choices)
    to = models.CharField(max_length=254)
    created_at = models.DateTimeField(default=timezone.now)
    priority = models.PositiveSmallIntegerField(
        choices=Priority.choices, default=Priority.NORMAL, db_default=Priority.NORMAL
    )
    next_try_at = models.DateTimeField(default=timezone.now, db_index=True)
    attempts = models.PositiveIntegerField(default=0)
    sent_at = models.DateTimeField(null=True)
    gave_up_at = models.DateTimeField(null=True)
    link_used_at = models.DateTimeField(null=True)
    #: Number of resends by staff; part of the reference by which a provider recognises a message.
    resent = models.PositiveSmallIntegerField(default=0, db_default=0)

    class Meta:
        verbose_name = _("notice")
        indexes = [
            # Only of what waits: the sender asks it for each notice.
            models.Index(
                fields=["priority", "next_try_at"], name="notices_that_wait",
                condition=models.Q(sent_at=None, gave_up_at=None),
            )
        ]  # fmt: skip
        constraints = [
            # The database guarantees "never twice for one event".
            models.UniqueConstraint(fields=["event", "channel", "to"], name="one_notice_an_event_and_address")
        ]


class SmsDelivery(models.Model):
    """The result of one message at one provider. ``number`` is masked."""

    at = models.DateTimeField(_("time"), default=timezone.now, db_index=True)
    backend = models.CharField(max_length=80)
    purpose = models.CharField(max_length=32)
    number = models.CharField(max_length=16)
    spoken = models.BooleanField(default=False)
    succeeded = models.BooleanField()
    error = models.CharField(max_length=40, blank=True)
    took_ms = models.PositiveIntegerField(default=0)
    reference = models.CharField(max_length=64, blank=True)
    #: Number of charged parts of the text.
    parts = models.PositiveSmallIntegerField(default=1, db_default=1)

    class Meta:
        verbose_name = _("SMS delivery")
        # For the staff's list, each with its filter; the doctor reads the last one of a back-end.
        indexes = [
            models.Index(fields=["backend", "at"], name="sms_of_a_backend"),
            models.Index(fields=["purpose", "at"], name="sms_of_a_purpose"),
            models.Index(fields=["number", "at"], name="sms_to_a_number"),
            models.Index(fields=["at"], name="sms_that_failed", condition=models.Q(succeeded=False)),
        ]
