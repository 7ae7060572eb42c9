"""Keys and figures on the staff's pages about people, which know nothing of `apikeys` themselves."""

from typing import Any

from django import template

from accounts.models import User
from apikeys.models import ApiKey
from apikeys.policy.choices import KeyState, Permission
from apikeys.staff import dashboard
from apikeys.templatetags.usage_tags import number
from apikeys.usage import clock_skew, rejection_texts
from apikeys.usage.recorder import KEPT_REJECTIONS

register = template.Library()
MOST = 100


@register.simple_tag
def keys_of(person: User) -> list[ApiKey]:
    """The customer's keys, newest first, deleted ones too."""
    keys = ApiKey.objects.filter(owner=person).select_related("owner").prefetch_related("networks")
    return list(keys.order_by("-created_at")[:MOST])


@register.simple_tag
def live_keys(person: User) -> list[ApiKey]:
    return list(ApiKey.objects.filter(owner=person).exclude(state=KeyState.REVOKED).order_by("-created_at"))


@register.simple_tag
def refusals_of(key: ApiKey) -> list[dict[str, Any]]:
    """The last refusals with the reason that only the owner and staff see; ``permission``: what the request needed."""
    labels = {permission.value: permission.label for permission in Permission}
    return [
        {"row": row, "words": rejection_texts.text_of(row), "permission": labels.get(row.permission)}
        for row in key.refusals.all()[:KEPT_REJECTIONS]
    ]


@register.filter
def clock_of(key: ApiKey) -> str:
    return clock_skew.clock_state(key.skew_ms).value


@register.simple_tag
def staff_figures() -> dashboard.Board:
    return dashboard.board()


@register.filter
def money(value: float) -> str:
    """A sum in the operator's currency, without parts of it."""
    return number(round(value))
