"""Template tags: keys and figures on the staff's pages of `accounts`, which does not import `apikeys`."""

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
MAX_KEYS = 100


@register.simple_tag
def keys_of(person: User) -> list[ApiKey]:
    """Return the customer's keys, newest first, including deleted ones."""
    keys = ApiKey.objects.filter(owner=person).select_related("owner").prefetch_related("networks")
    return list(keys.order_by("-created_at")[:MAX_KEYS])


@register.simple_tag
def live_keys(person: User) -> list[ApiKey]:
    return list(ApiKey.objects.filter(owner=person).exclude(state=KeyState.REVOKED).order_by("-created_at"))


@register.simple_tag
def rejections_of(key: ApiKey) -> list[dict[str, Any]]:
    """Return the latest rejections with the reason that only owner and staff see, and the needed ``permission``."""
    labels = {permission.value: permission.label for permission in Permission}
    return [
        {"row": row, "text": rejection_texts.text_of(row), "permission": labels.get(row.permission)}
        for row in key.refusals.all()[:KEPT_REJECTIONS]
    ]


@register.filter
def clock_of(key: ApiKey) -> str:
    return clock_skew.clock_state(key.skew_ms).value


@register.simple_tag
def staff_figures() -> dashboard.Dashboard:
    return dashboard.load_dashboard()


@register.filter
def money(value: float) -> str:
    """Format an amount in the operator's currency, rounded to units."""
    return number(round(value))
