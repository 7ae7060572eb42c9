"""Filters for keys and figures on staff pages."""

from django import template

from apikeys.models import ApiKey
from apikeys.templatetags.usage_tags import number
from apikeys.usage import clock_skew

register = template.Library()


@register.filter
def clock_of(key: ApiKey) -> str:
    return clock_skew.clock_state(key.skew_ms).value


@register.filter
def money(value: float) -> str:
    """Format an amount in the operator's currency, rounded to units."""
    return number(round(value))
