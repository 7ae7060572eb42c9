"""What the list of keys shows of those that are no more."""

from django import template

from accounts.models import User
from apikeys.models import ApiKey
from apikeys.policy.choices import KeyState

register = template.Library()
MOST = 100


@register.simple_tag
def deleted_keys(user: User) -> list[ApiKey]:
    """The customer's deleted keys, the last 100, newest first. Their pages stay for good."""
    return list(ApiKey.objects.filter(owner=user, state=KeyState.REVOKED).order_by("-revoked_at")[:MOST])
