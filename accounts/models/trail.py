"""The audit trail: append-only, each event with its own MAC, all linked into one chain."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from typing import Any, Self

from django.db import connections, models, router, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.choices import audit_mac, events
from accounts.models.people import User

NEXT_ID = {
    "postgresql": "SELECT nextval(pg_get_serial_sequence('accounts_auditevent', 'id'))",
    # Under the write lock, which every transaction of the portal takes at its start.
    "sqlite": "SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'accounts_auditevent'), 0) + 1",
}


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    """A read-only queryset: events cannot be edited."""

    def update(self, **kwargs: Any) -> int:
        raise TypeError("audit events are append-only")

    def delete(self) -> tuple[int, dict[str, int]]:
        raise TypeError("audit events are append-only")

    def bulk_create(self, *args: Any, **kwargs: Any) -> list[AuditEvent]:
        raise TypeError("audit events are made one by one, each with its own MAC")

    def unlinked(self, after: int = 0) -> AuditEventQuerySet:
        """Return the events after ``after`` that are not linked into the chain (yet), by id."""
        links = AuditLink.objects.filter(event_id=models.OuterRef("pk"))
        return self.filter(~models.Exists(links), pk__gt=after).order_by("pk")


class AuditEvent(models.Model):
    """One security event: who did what, on what, from where, with which result. Append-only."""

    at = models.DateTimeField(_("time"), default=timezone.now, db_index=True)
    event = models.CharField(_("event"), max_length=40, choices=events.choices)
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
    #: Random, one for each event; stored in ``detail`` under `audit_mac.SALT`. SECURITY: otherwise the holder of a
    #: master key could find an erased address by trying all of them against ``mac``.
    salt = ""
    #: MAC over all fields above and the id (`accounts.choices.audit_mac`). Empty in rows from before the chain was
    #: introduced.
    mac = models.CharField(max_length=audit_mac.MAC_LENGTH, default="", db_default="", editable=False)
    #: Of an event whose personal fields were erased (`accounts.audit.erasure`): MAC over what is left, and ``mac``.
    erased_mac = models.CharField(max_length=audit_mac.MAC_LENGTH, null=True, editable=False)

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        verbose_name = _("security event")
        verbose_name_plural = _("security events")
        ordering = ["-at", "-id"]
        indexes = [
            models.Index(fields=["customer", "-at"], name="events_of_a_customer"),
            models.Index(fields=["event", "at"], name="events_by_kind"),
            # Newest first by id, as lists are. Otherwise the newest events of all customers are read until there are
            # enough of one who was not here for long. Most events have neither address nor target.
            models.Index(fields=["customer", "id"], name="events_of_a_customer_by_id"),
            models.Index(
                fields=["address", "id"], condition=~models.Q(address=""), name="events_of_an_address"
            ),
            models.Index(fields=["target", "id"], condition=~models.Q(target=""), name="events_of_a_target"),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.at:%Y-%m-%d %H:%M:%S}"

    @classmethod
    def from_db(
        cls, db: str | None, field_names: Collection[str], values: Collection[Any], **options: Any
    ) -> Self:
        event = super().from_db(db, field_names, values, **options)
        detail = event.__dict__.get("detail")
        if isinstance(detail, dict):
            event.salt = detail.pop(audit_mac.SALT, "")
        return event

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk is not None:
            raise TypeError("audit events are append-only")
        detail = self.detail
        using = kwargs.setdefault("using", router.db_for_write(AuditEvent))
        try:
            with transaction.atomic(using=using, savepoint=False):
                # The MAC covers the id, so a copied row is not valid; therefore the id is allocated first.
                self.pk = _next_id(using)
                self.salt = secrets.token_hex(audit_mac.SALT_BYTES)
                self.mac = audit_mac.event_mac(self)
                self.detail = audit_mac.salted_detail(self)
                super().save(*args, **kwargs | {"force_insert": True})
        except BaseException:
            self.pk = None
            raise
        finally:
            self.detail = detail

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise TypeError("audit events are append-only")


def _next_id(using: str) -> int:
    with connections[using].cursor() as cursor:
        cursor.execute(NEXT_ID[connections[using].vendor])
        number: int = cursor.fetchone()[0]
        return number


class AuditLink(models.Model):
    """The position of one event in the chain. The MAC covers the sequence, the previous link, and the event.
    Append-only.
    """

    sequence = models.BigIntegerField(primary_key=True)
    event = models.OneToOneField(AuditEvent, models.DO_NOTHING, related_name="link", db_constraint=False)
    mac = models.CharField(max_length=audit_mac.MAC_LENGTH)

    class Meta:
        ordering = ["sequence"]

    def __str__(self) -> str:
        return f"{self.sequence}"


class AuditHead(models.Model):
    """The ends of the chain: one row, signed as a whole, so that a truncated tail is detected.

    Links 1 to ``pruned_sequence`` were pruned; ``pruned_mac`` is the checkpoint on which the next link builds.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    sequence = models.BigIntegerField(default=0)
    link_mac = models.CharField(max_length=audit_mac.MAC_LENGTH, blank=True, default="")
    #: The highest event id that was linked. Unlinked events are searched around it.
    highest_event = models.BigIntegerField(default=0)
    #: All events up to this id are linked, or never will be.
    settled_event = models.BigIntegerField(default=0)
    #: Events up to this id may have no MAC: they are from the previous version, or from its processes that were still
    #: running.
    unsigned_to = models.BigIntegerField(default=0)
    #: The last link that was written to `PORTAL_AUDIT_SINK`.
    streamed = models.BigIntegerField(default=0)
    pruned_sequence = models.BigIntegerField(default=0)
    pruned_mac = models.CharField(max_length=audit_mac.MAC_LENGTH, blank=True, default="")
    pruned_at = models.DateTimeField(null=True)
    mac = models.CharField(max_length=audit_mac.MAC_LENGTH)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="one_head_of_the_chain")]

    def __str__(self) -> str:
        return f"{self.pruned_sequence}..{self.sequence}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.mac = audit_mac.head_mac(self)
        super().save(*args, **kwargs)
