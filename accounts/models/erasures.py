"""Erasures of customers: requested by one person, confirmed by a second one, applied after a waiting period."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from accounts.models.people import User


class Erasure(models.Model):
    """The erasure of one customer (`accounts.actions.erasure`). The row outlives the account, and then holds no
    personal data: ``reason`` is emptied.

    ``requested_by``, ``confirmed_by``: ``staff <id>`` or ``operator <user name>``.
    """

    user = models.ForeignKey(User, models.DO_NOTHING, related_name="erasures", db_constraint=False)
    reason = models.CharField(max_length=200, blank=True)
    requested_by = models.CharField(max_length=100)
    requested_at = models.DateTimeField()
    due_at = models.DateTimeField()
    #: Whether the request closed the account, so that a cancellation opens it again.
    closed_account = models.BooleanField()
    confirmed_by = models.CharField(max_length=100, blank=True)
    confirmed_at = models.DateTimeField(null=True)
    cancelled_at = models.DateTimeField(null=True)
    done_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user"], condition=Q(cancelled_at=None), name="one_erasure_an_account"
            ),
            # SECURITY: the database, too, refuses an erasure that one person alone decided.
            models.CheckConstraint(
                condition=Q(confirmed_at=None)
                | (~Q(confirmed_by="") & ~Q(confirmed_by=models.F("requested_by"))),
                name="erasure_confirmed_by_another",
            ),
            models.CheckConstraint(
                condition=Q(done_at=None) | Q(confirmed_at__isnull=False),
                name="only_confirmed_erasures_are_done",
            ),
        ]
