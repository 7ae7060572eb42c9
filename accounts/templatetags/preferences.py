"""Template tag for ``accounts/_preferences.html``, which any page may include."""

from typing import Any

from django import template
from django.template import Context

from accounts.access.decorators import customer
from accounts.actions import preferences

register = template.Library()


@register.simple_tag(takes_context=True)
def preferences_of_visitor(context: Context) -> dict[str, Any]:
    """`accounts.actions.preferences.settings_context` for the current user."""
    request = context["request"]
    return preferences.settings_context(request, customer(request))
