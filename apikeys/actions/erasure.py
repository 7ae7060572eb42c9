"""What is erased of a customer's keys: all of it, with the addresses and the requests that they were used for."""

from django.db.models import Q, QuerySet

from accounts.actions import erasure
from accounts.actions.erasure import Part
from accounts.models import User
from apikeys.models import ApiKey, IdempotentAnswer


def _keys(user: User) -> QuerySet[ApiKey]:
    return ApiKey.objects.filter(owner=user)


def _erase_keys(user: User) -> None:
    # The rows' locks are taken in the order in which processes that write counts take them.
    list(_keys(user).select_for_update().order_by("pk").values_list("pk", flat=True))
    _keys(user).delete()


def _answers(user: User) -> QuerySet[IdempotentAnswer]:
    """Answers of the management API, which are kept for a day, with the customer's number or id at the exchange."""
    texts = Q(body__contains=f'"{user.phone}"')
    # In quotes: an id like "7" is a part of most answers, and a call whose answer is gone would be done again.
    return IdempotentAnswer.objects.filter(
        texts | Q(body__contains=f'"{user.external_id}"') if user.external_id else texts
    )


def register() -> None:
    """Register the parts with `accounts.actions.erasure`. Called by `ApiKeysConfig.ready()`."""
    erasure.PARTS.register(
        {
            "keys": Part(lambda user: _keys(user).count(), _erase_keys),
            "answers": Part(lambda user: _answers(user).count(), lambda user: _answers(user).delete()),
        }
    )
