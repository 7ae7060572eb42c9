"""What requests made of a key: counts, refusals, addresses, and approvals that wait. Never the request itself."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from apikeys.models.keys import ApiKey


class Refusal(models.Model):
    """One refused request, with the reason that only the key's owner sees. The last 50 a key are kept."""

    key = models.ForeignKey(ApiKey, models.CASCADE, related_name="refusals")
    at = models.DateTimeField(default=timezone.now)
    outcome = models.CharField(max_length=24)
    address = models.CharField(max_length=45, blank=True)
    permission = models.CharField(max_length=8, blank=True)
    skew_ms = models.BigIntegerField(null=True)

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["address"], name="refusals_of_an_address")]


class DailyUse(models.Model):
    """How many requests of a key had this outcome on this day (by Tehran's calendar)."""

    key = models.ForeignKey(ApiKey, models.CASCADE, related_name="daily_use")
    day = models.DateField()
    outcome = models.CharField(max_length=24)
    permission = models.CharField(max_length=8, blank=True)
    count = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["key", "day", "outcome", "permission"], name="one_count_a_day_and_outcome"
            )
        ]
        # Of all keys together, for the staff's overview: refusals are few beside what is allowed.
        indexes = [
            models.Index(fields=["day"], condition=~models.Q(outcome="allowed"), name="refused_by_day")
        ]


class AddressUse(models.Model):
    """From where a key was used: the last 20 addresses, allowed requests only."""

    key = models.ForeignKey(ApiKey, models.CASCADE, related_name="addresses")
    address = models.CharField(max_length=45)
    last_at = models.DateTimeField()
    count = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["-last_at"]
        constraints = [models.UniqueConstraint(fields=["key", "address"], name="one_row_an_address")]
        indexes = [models.Index(fields=["address"], name="keys_used_from")]


class RescueRequest(models.Model):
    """A rightly signed request from an address that is not listed; its owner may add the address with both codes."""

    key = models.ForeignKey(ApiKey, models.CASCADE, related_name="rescues")
    address = models.CharField(max_length=45)
    asked_at = models.DateTimeField(default=timezone.now)
    closed_at = models.DateTimeField(null=True)
    approved = models.BooleanField(default=False)

    class Meta:
        ordering = ["-pk"]
