"""The tag of the partial ``accounts/_preferences.html``, which any page may include."""

from typing import Any

from django import template
from django.template import Context

from accounts import preferences
from accounts.stages import customer

register = template.Library()


@register.simple_tag(takes_context=True)
def preferences_of_visitor(context: Context) -> dict[str, Any]:
    """`accounts.preferences.context` for the person who is logged in."""
    request = context["request"]
    return preferences.context(request, customer(request))
