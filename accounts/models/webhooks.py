"""Webhooks: the systems that are told of events, and what each of them was told."""

from __future__ import annotations

import uuid
from datetime import datetime
from urllib.parse import urlsplit

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models.trail import AuditEvent
from hitobit_portal.security import crypto


class WebhookEndpoint(models.Model):
    """A system that is told of events. ``sequence``: the last link of the audit chain that it was considered for;
    ``number``: how many events it was to be told of.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(_("name"), max_length=64, unique=True)
    url = models.CharField(_("address"), max_length=500)
    #: Values of events, groups such as ``key.*``, or ``*`` (`accounts.webhooks.filters`).
    events = models.JSONField(_("events"), default=list)
    is_active = models.BooleanField(_("active"), default=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    secret_sealed = models.TextField(editable=False)
    #: Signs too until ``old_secret_until``, while the receiver learns the new one.
    old_secret_sealed = models.TextField(blank=True, default="", db_default="", editable=False)
    old_secret_until = models.DateTimeField(null=True, editable=False)
    sequence = models.BigIntegerField(default=0, db_default=0, editable=False)
    number = models.BigIntegerField(default=0, db_default=0, editable=False)

    class Meta:
        verbose_name = _("webhook")
        verbose_name_plural = _("webhooks")
        ordering = ["name"]
        permissions = [("send_webhook", "Can send events to webhooks again, and test events")]

    def __str__(self) -> str:
        return self.name

    @property
    def host(self) -> str:
        """Host and port. SECURITY: what others than operators see, as some receivers keep the path secret."""
        return urlsplit(self.url).netloc

    @property
    def seal_owner(self) -> str:
        """SECURITY: the row's id: a secret that is moved to another endpoint cannot be decrypted."""
        return f"accounts.webhook:{self.pk}"

    def secrets(self, now: datetime) -> list[str]:
        """Return the secrets that sign at ``now``, the newest first. Raise `crypto.SealError`."""
        sealed = [self.secret_sealed]
        if self.old_secret_sealed and self.old_secret_until is not None and now < self.old_secret_until:
            sealed.append(self.old_secret_sealed)
        return [crypto.unseal(each, self.seal_owner).decode("ascii") for each in sealed]


class WebhookDelivery(models.Model):
    """One event for one endpoint. Its body is made when it is sent, and never stored.

    ``number``: its place among the events of the endpoint, without gaps; None for the notice to an address that was
    replaced, which is ``url``.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    endpoint = models.ForeignKey(WebhookEndpoint, models.CASCADE, related_name="deliveries")
    event = models.ForeignKey(AuditEvent, models.DO_NOTHING, related_name="+", db_constraint=False)
    number = models.BigIntegerField(null=True)
    #: Events of one customer, and so of one key, are sent one after the other. None: in any order.
    lane = models.BigIntegerField(null=True)
    url = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    #: Begin of the three days; later than ``created_at`` if it is sent again.
    since = models.DateTimeField(default=timezone.now)
    next_try_at = models.DateTimeField(default=timezone.now)
    #: Until when a sender has it in work.
    leased_until = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    #: Of the last answer: its status, or the class of the error; nothing else of it is stored.
    status = models.PositiveSmallIntegerField(null=True)
    error = models.CharField(max_length=40, blank=True)
    took_ms = models.PositiveIntegerField(default=0)
    delivered_at = models.DateTimeField(null=True)
    gave_up_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("delivery to a webhook")
        constraints = [
            # The database guarantees that no number is used twice, whatever runs at once.
            models.UniqueConstraint(fields=["endpoint", "number"], name="one_delivery_a_number")
        ]
        indexes = [
            models.Index(
                fields=["endpoint", "next_try_at"], name="deliveries_that_wait",
                condition=models.Q(delivered_at=None, gave_up_at=None),
            ),
            models.Index(
                fields=["endpoint", "lane", "number"], name="deliveries_in_order",
                condition=models.Q(delivered_at=None, gave_up_at=None),
            ),
            models.Index(fields=["endpoint", "-created_at"], name="deliveries_of_an_endpoint"),
            models.Index(
                fields=["gave_up_at"], name="deliveries_given_up", condition=models.Q(gave_up_at__isnull=False)
            ),
            models.Index(fields=["created_at"], name="deliveries_by_age"),
        ]  # fmt: skip

    def __str__(self) -> str:
        return self.message_id

    @property
    def message_id(self) -> str:
        """``webhook-id``: the same in every attempt, by which a receiver knows that it has it already."""
        return f"msg_{self.pk.hex}"
