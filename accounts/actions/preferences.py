"""Preferences of a user: language, theme, digits, optional notices. The first three are copied into cookies
(`display_preferences`).
"""

from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import get_language, get_language_info
from django.utils.translation import gettext_lazy as _

from accounts.access import known_browsers
from accounts.choices.events import all_events
from accounts.models import User
from accounts.notifications import policy
from hitobit_portal.http import display_preferences

THEMES = [(display_preferences.AUTO, _("System")), ("light", _("Light")), ("dark", _("Dark"))]
DIGITS = [(display_preferences.AUTO, _("Match the language")), ("latin", _("Always 0123456789"))]


class PreferencesForm(forms.Form):
    """All preferences together. Optional notices that are not ticked are turned off."""

    theme = forms.ChoiceField(choices=THEMES)
    language = forms.ChoiceField(choices=settings.LANGUAGES)
    digits = forms.ChoiceField(choices=DIGITS)
    notices = forms.MultipleChoiceField(
        choices=[(event.value, event.value) for event in policy.OPTIONAL], required=False
    )


def settings_context(request: HttpRequest, user: User) -> dict[str, Any]:
    """Return the context of the preferences section: display preferences of this browser, notices of the account.

    ``optional``: (value, title, whether it is on); ``mandatory``: titles.
    """
    stored = display_preferences.chosen(request)
    return {
        "themes": THEMES,
        "theme": stored.get("theme", display_preferences.AUTO),
        "languages": [(code, _native(code)) for code, _name in settings.LANGUAGES],
        "language": get_language(),
        "digit_kinds": DIGITS,
        "digits": stored.get("digits", display_preferences.AUTO),
        "optional": [
            (event.value, event.look.title, event.value in user.optional_notices) for event in policy.OPTIONAL
        ],
        "mandatory": [event.look.title for event in all_events() if event in policy.MANDATORY],
    }


def _native(code: str) -> str:
    return str(get_language_info(code)["name_local"])


def save(user: User, values: dict[str, Any]) -> bool:
    """Store the values of a valid form in the account. Return whether anything changed."""
    wanted = {
        "theme": values["theme"],
        "language": values["language"],
        "digits": values["digits"],
        "optional_notices": sorted(values["notices"]),
    }
    changed = any(getattr(user, name) != value for name, value in wanted.items())
    if changed:
        User.objects.filter(pk=user.pk).update(**wanted)
        user.refresh_from_db(fields=list(wanted))
    return changed


def account_preferences(user: User) -> dict[str, str]:
    """Return the display preferences for `display_preferences.store`, without those that were never chosen."""
    pairs = {"theme": user.theme, "language": user.language, "digits": user.digits}
    return {name: value for name, value in pairs.items() if value}


def restore_after_logout(request: HttpRequest) -> HttpResponse | None:
    """Move the parameters that a logout added to the address back into cookies. Return None if there are none."""
    values = display_preferences.known(request.GET.dict()) if request.method == "GET" else {}
    if not values and not (request.method == "GET" and known_browsers.HANDOVER_PARAMETER in request.GET):
        return None
    rest = request.GET.copy()
    for name in (*display_preferences.NAMES, known_browsers.HANDOVER_PARAMETER):
        rest.pop(name, None)
    response = redirect(f"{request.path}?{rest.urlencode()}".rstrip("?"))
    display_preferences.store(response, values)
    known_browsers.import_tokens(request, response)
    return response
