"""Give an existing account the exchange's id of its owner: once, and for good.

SECURITY: from then on the exchange takes requests of the account's keys for those of that customer, and who logs in at
the exchange as that customer gets past the password step here. So an account is linked by an operator's list, or by its
owner with both codes and a login at the exchange; never because a phone number is the same.
"""

from typing import Any

from django.db import IntegrityError, transaction
from django.http import HttpRequest

from accounts import audit
from accounts.choices.events import Event
from accounts.models import User


class AlreadyLinked(Exception):
    """The account has another id, or another account has this one."""


def link(request: HttpRequest | None, user: User, external_id: str, event: Event, **detail: Any) -> bool:
    """Set the id. Return False if the account has it already. Raise `AlreadyLinked`.

    ``event``: `Event.EXCHANGE_LINKED` (by the owner), or `Event.EXCHANGE_ID_SET` (by an operator).
    """
    free = User.objects.filter(pk=user.pk, external_id=None, is_staff=False, is_superuser=False)
    try:
        with transaction.atomic():
            if free.update(external_id=external_id):
                audit.record(event, request, customer=user, new=external_id, **detail)
                return True
    except IntegrityError:
        raise AlreadyLinked from None
    if not User.objects.filter(pk=user.pk, external_id=external_id).exists():
        raise AlreadyLinked
    return False
