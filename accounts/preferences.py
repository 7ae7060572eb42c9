"""Language, theme, digits and optional notices of a person; the first three are copied into cookies (`looks`)."""

from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import get_language, get_language_info
from django.utils.translation import gettext_lazy as _

from accounts import known_browsers, notices
from accounts.events import Event
from accounts.models import User
from hitobit_portal import looks

THEMES = [(looks.AUTO, _("As the device")), ("light", _("Light")), ("dark", _("Dark"))]
DIGITS = [(looks.AUTO, _("As the language")), ("latin", _("Always 0123456789"))]


class PreferencesForm(forms.Form):
    """All of them together; what is not ticked among ``notices`` is turned off."""

    theme = forms.ChoiceField(choices=THEMES)
    language = forms.ChoiceField(choices=settings.LANGUAGES)
    digits = forms.ChoiceField(choices=DIGITS)
    notices = forms.MultipleChoiceField(
        choices=[(event.value, event.value) for event in notices.OPTIONAL], required=False
    )


def context(request: HttpRequest, user: User) -> dict[str, Any]:
    """What the section of the settings shows: the looks of this browser, and the notices of the account.

    ``optional``: (value, title, whether it is on); ``mandatory``: titles.
    """
    stored = looks.chosen(request)
    return {
        "themes": THEMES,
        "theme": stored.get("theme", looks.AUTO),
        "languages": [(code, _native(code)) for code, _name in settings.LANGUAGES],
        "language": get_language(),
        "digit_kinds": DIGITS,
        "digits": stored.get("digits", looks.AUTO),
        "optional": [
            (event.value, event.look.title, event.value in user.optional_notices)
            for event in notices.OPTIONAL
        ],
        "mandatory": [event.look.title for event in Event if event in notices.MANDATORY],
    }


def _native(code: str) -> str:
    return str(get_language_info(code)["name_local"])


def save(user: User, values: dict[str, Any]) -> bool:
    """Keeps the values of a valid form in the account; whether that changed anything."""
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


def of_account(user: User) -> dict[str, str]:
    """The account's own looks, as `looks.store` takes them; nothing for what was never chosen."""
    pairs = {"theme": user.theme, "language": user.language, "digits": user.digits}
    return {name: value for name, value in pairs.items() if value}


def restored(request: HttpRequest) -> HttpResponse | None:
    """Puts what a logout carried in the address back into cookies; None when it carried nothing."""
    values = looks.known(request.GET.dict()) if request.method == "GET" else {}
    if not values and not (request.method == "GET" and known_browsers.HANDED_OVER in request.GET):
        return None
    rest = request.GET.copy()
    for name in (*looks.VALUES, known_browsers.HANDED_OVER):
        rest.pop(name, None)
    response = redirect(f"{request.path}?{rest.urlencode()}".rstrip("?"))
    looks.store(response, values)
    known_browsers.take_over(request, response)
    return response
