"""The template tag ``{% include_constant "parts/head.html" %}``, a built-in of all templates.

What frames a page is the same in each request: with the links of head, menu and navigation rendered each time, a page
took a third longer.
"""

import functools

from django import template
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language

from hitobit_portal.http import display_preferences

register = template.Library()


@register.simple_tag
def include_constant(name: str, **values: object) -> SafeString:
    """The template with ``values`` and nothing else, rendered once for each language.

    SECURITY: it has no context of a request, so what it shows of a person can only be in ``values``, where nothing
    personal belongs: what is rendered is kept. Values come from the code and the settings, so that they are few.
    """
    return _rendered(name, get_language(), display_preferences.digits.get(), tuple(sorted(values.items())))


@functools.lru_cache(maxsize=2000)
def _rendered(
    name: str, _language: str | None, _digits: str, values: tuple[tuple[str, object], ...]
) -> SafeString:
    return mark_safe(render_to_string(name, dict(values)).strip())  # nosec B308 B703
