"""Customers by what they say of themselves: a phone number, an e-mail, a key. All but names are looked up by index."""

import re

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts.models import DelayedChange, User
from accounts.staff import access
from hitobit_portal.i18n.fields import ascii_digits, parse_phone

KEY = re.compile(r"[A-Za-z0-9]{64}")
#: As the portal shows a key to its owner: six, an ellipsis (or dots), four.
MASKED_KEY = re.compile(r"([A-Za-z0-9]{6})(?:…|\.{2,3})([A-Za-z0-9]{4})")
STATES = ("frozen", "quarantine", "closed", "resetting")


def by_text(request: HttpRequest, text: str) -> QuerySet[User]:
    """The visible accounts that ``text`` names, newest first; names only for those who may list customers.

    SECURITY: of numbers and e-mails only the whole is found. By parts, the digits that are masked on the page could
    be asked for one by one.
    """
    people = access.visible_accounts(request).order_by("-pk")
    number = parse_phone(text)
    if number:
        return people.filter(phone=number)
    if "@" in text:
        return people.exclude(email="").filter(email__iexact=text)
    key = key_condition("api_keys__", text)
    if key is not None:
        return people.filter(key).distinct()
    if access.can_list_customers(request):
        digits = ascii_digits(text)
        is_id = digits.isdecimal() and len(digits) < 10
        return people.filter(Q(pk=int(digits)) if is_id else Q(name__icontains=text))
    return people.none()


def key_condition(prefix: str, text: str) -> Q | None:
    """The condition on a key's public id (whole, or masked as the portal shows it); None when ``text`` is neither."""
    if KEY.fullmatch(text):
        return Q(**{f"{prefix}key_id": text})
    found = MASKED_KEY.fullmatch(text)
    if found is None:
        return None
    return Q(**{f"{prefix}key_id__startswith": found[1], f"{prefix}key_id__endswith": found[2]})


def in_state(people: QuerySet[User], state: str) -> QuerySet[User]:
    """Those who are in one of STATES; all of them for any other text."""
    if state == "frozen":
        return people.filter(frozen_at__isnull=False)
    if state == "quarantine":
        return people.filter(quarantined_until__gt=timezone.now())
    if state == "closed":
        return people.filter(is_active=False)
    if state == "resetting":
        waiting = DelayedChange.objects.filter(stopped_at=None, done_at=None)
        return people.filter(pk__in=waiting.values("user"))
    return people
