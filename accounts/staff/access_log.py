"""Access log: views and searches of staff are audit events, at most one a minute for each page."""

from typing import Any

from django.http import HttpRequest

from accounts import audit
from accounts.access.decorators import customer
from accounts.choices.events import Event
from accounts.models import User
from hitobit_portal.i18n.fields import parse_phone
from hitobit_portal.i18n.free_text import plain
from hitobit_portal.i18n.jalali import masked_phone
from hitobit_portal.security import ratelimits
from hitobit_portal.security.ratelimits import Rate


def record_view(
    request: HttpRequest, page: str, *, of: User | None = None, target: str = "", label: str = ""
) -> None:
    """Record that ``page`` was viewed. ``of``: the customer it shows, whose own activity page does not list the
    event.
    """
    me = customer(request)
    if (
        ratelimits.acquire(Rate.STAFF_VIEWED_EVENT, f"{me.pk}:{page}:{target or (of.pk if of else '')}")
        is None
    ):
        audit.record(
            Event.STAFF_VIEWED, request, customer=of, actor=me, target=target, label=label, page=page
        )


def record_search(request: HttpRequest, page: str, text: str, hits: int | None, **filters: Any) -> None:
    """Record a search for ``text``, with numbers and e-mails masked. ``hits``: their number, None if not counted."""
    me = customer(request)
    shown = {name: value for name, value in filters.items() if value}
    key = f"{me.pk}:{page}:?{text}{sorted(shown.items())!r}"
    if ratelimits.acquire(Rate.STAFF_VIEWED_EVENT, key) is None:
        audit.record(
            Event.STAFF_SEARCHED,
            request,
            customer=None,
            actor=me,
            page=page,
            text=masked(text),
            **{"found": hits, **shown},
        )


def masked(text: str) -> str:
    """Return ``text`` with a number or an e-mail masked, so that the audit trail is no address book."""
    number = parse_phone(text)
    if number:
        return masked_phone(number)
    return masked_email(text) if "@" in text else text[:80]


def masked_email(value: str) -> str:
    """Return ``sara@example.com`` as ``s•••@example.com``."""
    name, at_sign, domain = value.rpartition("@")
    return f"{plain(name[:1])}•••{at_sign}{plain(domain[:60])}" if at_sign else plain(value)
