"""Template tag: deleted keys in the list of keys."""

from django import template

from accounts.models import User
from apikeys.models import ApiKey
from apikeys.policy.choices import KeyState

register = template.Library()
MAX_KEYS = 100


@register.simple_tag
def deleted_keys(user: User) -> list[ApiKey]:
    """Return the last 100 deleted keys of the customer, newest first. Their pages remain available."""
    return list(ApiKey.objects.filter(owner=user, state=KeyState.REVOKED).order_by("-revoked_at")[:MAX_KEYS])
