"""Save display preferences and optional notices; the language switch of every page."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import check_for_language, override
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST
from django.views.i18n import set_language as django_set_language

from accounts import audit
from accounts.access import sessions
from accounts.access.decorators import customer, public
from accounts.actions import preferences
from accounts.choices.events import Event
from accounts.models import User
from hitobit_portal.http import display_preferences


@require_POST
def save(request: HttpRequest) -> HttpResponse:
    """Save the preferences section, in the account and in this browser's cookies."""
    form = preferences.PreferencesForm(request.POST)
    response = redirect("settings")
    if not form.is_valid():
        # Only a foreign page sends such values: no form field could show the error.
        messages.error(request, _("Nothing was saved: this option does not exist."))
        return response
    user = customer(request)
    if preferences.save(user, form.cleaned_data):
        audit.record(Event.PREFERENCES_CHANGED, request, customer=user)
    display_preferences.store(response, preferences.account_preferences(user))
    with override(user.language):
        messages.success(request, _("Your preferences were saved."))
    return response


@public
@require_POST
def set_language(request: HttpRequest) -> HttpResponse:
    """Set the language by Django's view, which writes the cookie; also in the account if the user is logged in."""
    response = django_set_language(request)
    code, user = request.POST.get("language", ""), request.user
    known = code in display_preferences.allowed()["language"] and check_for_language(code)
    # An ended session counts as anonymous: `DefaultDenyMiddleware` does not check public views.
    if known:
        display_preferences.store(
            response, {"language": code}
        )  # also updates the cookie of the previous version, which Django's view does not
    if known and isinstance(user, User) and user.is_verified() and sessions.is_alive(request, user):
        User.objects.filter(pk=user.pk).update(language=code)
    return response
