"""Data about requests: counts, rejections, addresses, and open requests for new addresses. Requests are not stored."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from apikeys.models.keys import ApiKey


class Refusal(models.Model):
    """A rejected request, with the reason that only the key's owner sees. The last 50 of each key are kept.

    ``skew_ms``: the clock's error, if the request was signed; ``offset_ms``: the same of a request that came too late
    or too early, signed or not. ``method``, ``path`` and ``parameter`` (the one that is missing or repeated) are the
    sender's texts, bounded by `apikeys.usage.request_line`.
    """

    key = models.ForeignKey(ApiKey, models.CASCADE, related_name="refusals")
    at = models.DateTimeField(default=timezone.now)
    outcome = models.CharField(max_length=24)
    address = models.CharField(max_length=45, blank=True)
    permission = models.CharField(max_length=8, blank=True)
    skew_ms = models.BigIntegerField(null=True)
    offset_ms = models.BigIntegerField(null=True)
    method = models.CharField(max_length=8, blank=True, default="", db_default="")
    path = models.CharField(max_length=80, blank=True, default="", db_default="")
    parameter = models.CharField(max_length=32, blank=True, default="", db_default="")

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["address"], name="refusals_of_an_address")]


class DailyUse(models.Model):
    """Number of requests of a key with an outcome on a day (in Tehran)."""

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
        # For the staff's overview of all keys: rejections are few compared with allowed requests.
        indexes = [
            models.Index(fields=["day"], condition=~models.Q(outcome="allowed"), name="refused_by_day")
        ]


class AddressUse(models.Model):
    """An address that a key was used from; the last 20 of each key, allowed requests only."""

    key = models.ForeignKey(ApiKey, models.CASCADE, related_name="addresses")
    address = models.CharField(max_length=45)
    last_at = models.DateTimeField()
    count = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["-last_at"]
        constraints = [models.UniqueConstraint(fields=["key", "address"], name="one_row_an_address")]
        indexes = [models.Index(fields=["address"], name="keys_used_from")]


class NetworkUse(models.Model):
    """A network (`networks.wide_network`) that an unrestricted key was used from; the last 30 of each key."""

    key = models.ForeignKey(ApiKey, models.CASCADE, related_name="used_networks")
    network = models.CharField(max_length=45)
    last_at = models.DateTimeField()

    class Meta:
        ordering = ["-last_at", "-pk"]
        constraints = [models.UniqueConstraint(fields=["key", "network"], name="one_row_a_network")]


class RescueRequest(models.Model):
    """A correctly signed request from an unlisted address; the owner may add the address with both codes."""

    key = models.ForeignKey(ApiKey, models.CASCADE, related_name="rescues")
    address = models.CharField(max_length=45)
    asked_at = models.DateTimeField(default=timezone.now)
    closed_at = models.DateTimeField(null=True)
    approved = models.BooleanField(default=False)

    class Meta:
        ordering = ["-pk"]
