"""What staff look at is itself an event: of pages one a minute at most, so that reloading doesn't fill the trail."""

from typing import Any

from django.http import HttpRequest

from accounts import audit
from accounts.access.guard import customer
from accounts.choices.events import Event
from accounts.models import User
from hitobit_portal.i18n.fields import parse_phone
from hitobit_portal.i18n.free_text import plain
from hitobit_portal.i18n.jalali import masked_phone
from hitobit_portal.security import ratelimits
from hitobit_portal.security.ratelimits import Rate


def at(request: HttpRequest, page: str, *, of: User | None = None, target: str = "", label: str = "") -> None:
    """Leaves "looked at ``page``". ``of``: whose page it is; its owner doesn't see the event in their own activity."""
    me = customer(request)
    if (
        ratelimits.acquire(Rate.STAFF_VIEWED_EVENT, f"{me.pk}:{page}:{target or (of.pk if of else '')}")
        is None
    ):
        audit.record(
            Event.STAFF_VIEWED, request, customer=of, actor=me, target=target, label=label, page=page
        )


def searched(request: HttpRequest, page: str, text: str, found: int | None, **filters: Any) -> None:
    """Leaves "searched for ``text``", with numbers and e-mail masked. ``found``: hits; None when not counted."""
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
            found=found,
            **shown,
        )


def masked(text: str) -> str:
    """What was typed, such that the trail is no address book: a number or an e-mail is cut in its middle."""
    number = parse_phone(text)
    if number:
        return masked_phone(number)
    return masked_email(text) if "@" in text else text[:80]


def masked_email(value: str) -> str:
    """``sara@example.com`` as ``s•••@example.com``."""
    name, at_sign, domain = value.rpartition("@")
    return f"{plain(name[:1])}•••{at_sign}{plain(domain[:60])}" if at_sign else plain(value)
