"""Keys that the exchange's back office requests from a customer."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.functional import Promise

from accounts.models import User
from apikeys.models.keys import ApiKey
from apikeys.policy import names
from apikeys.policy.choices import IpPolicy, Permission, RequestState
from apikeys.policy.settings_change import Settings


class KeyRequest(models.Model):
    """A request of the back office for a key. It is no key: the customer creates one by confirming it with both codes.

    ``requested_by``: the name of the management token. ``permissions``, ``ip_policy``, ``networks``, ``expires_at``:
    the settings that the key would have. Nothing but the state, and what comes with it, ever changes.
    """

    owner = models.ForeignKey(User, models.CASCADE, related_name="key_requests")
    requested_by = models.CharField(max_length=64)
    label = models.CharField(max_length=names.MAX_LENGTH)
    label_folded = models.CharField(max_length=names.MAX_FOLDED_LENGTH)
    permissions = models.JSONField(default=list)
    ip_policy = models.CharField(max_length=12, choices=IpPolicy.choices)
    networks = models.JSONField(default=list)
    expires_at = models.DateTimeField(null=True)
    requested_at = models.DateTimeField(default=timezone.now)
    waits_until = models.DateTimeField()
    state = models.CharField(max_length=9, choices=RequestState.choices, default=RequestState.WAITING)
    closed_at = models.DateTimeField(null=True)
    #: The key that the customer created. One to one: of two confirmations one fails, whatever the code above does.
    key = models.OneToOneField(ApiKey, models.CASCADE, null=True, related_name="request")

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(state="confirmed", key__isnull=False)
                | (Q(state__in=["waiting", "declined", "cancelled", "expired"]) & Q(key=None)),
                name="only_a_confirmed_request_has_a_key",
            ),
        ]
        indexes = [
            models.Index(fields=["waits_until"], condition=Q(state="waiting"), name="waiting_key_requests")
        ]

    def __str__(self) -> str:
        return self.label

    @property
    def settings(self) -> Settings:
        return Settings(
            frozenset(self.permissions),
            self.ip_policy,
            tuple(self.networks),
            self.expires_at.isoformat() if self.expires_at else "",
        )

    @property
    def permission_labels(self) -> list[tuple[str, Promise]]:
        return [(one.value, one.label) for one in Permission if one.value in self.permissions]

    @property
    def current_state(self) -> RequestState:
        """Return the state; expired from the very moment, also before the recurring work has noted it."""
        if self.state == RequestState.WAITING and self.waits_until <= timezone.now():
            return RequestState.EXPIRED
        return RequestState(self.state)

    @property
    def is_waiting(self) -> bool:
        return self.current_state is RequestState.WAITING
