"""Search for customers by phone number, e-mail, key, id or name. All but names are found by an index."""

import re

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts.choices.external_ids import is_external_id
from accounts.models import DelayedChange, User
from accounts.staff import access
from hitobit_portal.i18n.fields import ascii_digits, parse_phone

KEY = re.compile(r"[A-Za-z0-9]{64}")
#: The masked form in which the portal shows a key: six characters, an ellipsis (or dots), four characters.
MASKED_KEY = re.compile(r"([A-Za-z0-9]{6})(?:…|\.{2,3})([A-Za-z0-9]{4})")
STATES = ("frozen", "quarantine", "closed", "resetting")


def by_text(request: HttpRequest, text: str) -> QuerySet[User]:
    """Return the visible accounts that match ``text``; by name only for staff who may list customers.

    SECURITY: numbers and e-mails must match completely. With partial matches, masked digits could be found one by
    one. Ids, also the exchange's, are found only for staff who may list customers: ids that are given in sequence could
    be tried one by one.
    """
    people = access.visible_accounts(request)
    lists = access.can_list_customers(request)
    # Such an id may look like anything that is searched for.
    is_external = lists and is_external_id(text)
    if is_external and (matching := people.filter(external_id=text)).exists():
        return matching
    number = parse_phone(text)
    if number:
        return people.filter(phone=number)
    if "@" in text:
        return people.exclude(email="").filter(email__iexact=text)
    key = key_condition("api_keys__", text)
    if key is not None:
        return people.filter(key).distinct()
    if lists:
        digits = ascii_digits(text)
        is_id = digits.isdecimal() and len(digits) < 10
        return people.filter(Q(pk=int(digits)) if is_id else Q(name__icontains=text))
    return people.none()


def key_condition(prefix: str, text: str) -> Q | None:
    """Return the condition on a key's public id (whole or masked); None if ``text`` is neither."""
    if KEY.fullmatch(text):
        return Q(**{f"{prefix}key_id": text})
    match = MASKED_KEY.fullmatch(text)
    if match is None:
        return None
    return Q(**{f"{prefix}key_id__startswith": match[1], f"{prefix}key_id__endswith": match[2]})


def in_state(people: QuerySet[User], state: str) -> QuerySet[User]:
    """Return the accounts in one of STATES; all accounts for any other text."""
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
