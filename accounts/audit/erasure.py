"""Erases the personal fields of a customer's events. The chain covers the events' MACs, which stay: it stays whole.

An event keeps its number, time, kind, customer and actor (numbers), target and result. What else it says is emptied,
its salt with it, and a second MAC says that the portal did that to this very event.
"""

from django.db import connection
from django.db.models import QuerySet

from accounts.audit import chain
from accounts.choices import audit_mac
from accounts.models import AuditEvent, User

PAGE = 1000
ERASE = """
    UPDATE accounts_auditevent
    SET label = '', detail = '{}', address = %s, agent = %s, request_id = %s, erased_mac = %s WHERE id = %s
"""


class UnsignedEvents(Exception):
    """Events from before the chain have no MAC of their own: their links cover the fields that are to be erased."""


def events_of(customer: int) -> QuerySet[AuditEvent]:
    """Return the events of the customer with this number whose personal fields were not erased."""
    return AuditEvent.objects.filter(customer_id=customer, erased_mac=None)


def count(user: User) -> int:
    return events_of(user.pk).count()


def check(customer: int) -> None:
    """Raise `UnsignedEvents` if the customer has such events."""
    if events_of(customer).filter(mac="").exists():
        raise UnsignedEvents


def erase(customer: int) -> int:
    """Erase the personal fields of all events of the customer with this number. Return how many were erased.

    Call it in a transaction, or some of them are erased. Events without a MAC stay as they are: see `check`.
    """
    erased, after = 0, 0
    signed = events_of(customer).exclude(mac="")
    while page := list(signed.filter(pk__gt=after).order_by("pk")[:PAGE]):
        after = page[-1].pk
        with chain.removing():
            erased += sum(map(_erase, page))
    return erased


def _erase(event: AuditEvent) -> bool:
    """Erase the event's fields. Return whether there was anything left to erase."""
    # SECURITY: an event that somebody changed is emptied and not signed, or the erasure would make it whole.
    is_whole = audit_mac.is_event(event)
    before = (event.label, event.detail, event.address, event.agent, event.request_id, event.salt)
    event.label, event.detail, event.salt = "", {}, ""
    if event.actor_id in (None, event.customer_id):
        event.address = event.agent = event.request_id = ""
    # Otherwise these are of the member of staff who did it, and say from where a stolen login of theirs was used.
    after = (event.label, event.detail, event.address, event.agent, event.request_id, event.salt)
    event.erased_mac = audit_mac.erased_mac(event) if is_whole else None
    if before == after and not is_whole:
        return False
    with connection.cursor() as cursor:
        cursor.execute(ERASE, [event.address, event.agent, event.request_id, event.erased_mac, event.pk])
    return True
