"""Redirects to the login page, and validation of the address to return to after the login."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode

from accounts.access import form_drafts


def safe_next(request: HttpRequest, target: str) -> str:
    """``target`` when it is a path of this site, else ""."""
    hosts = {request.get_host()}
    # SECURITY: browsers drop tabs and line feeds inside an address, so "/\t/evil" is "//evil" to them.
    if (
        target.startswith("/")
        and target.isprintable()
        and url_has_allowed_host_and_scheme(target, hosts, require_https=request.is_secure())
    ):
        return target
    return ""


def redirect_to_login(request: HttpRequest, owner: str = "") -> HttpResponse:
    """To the login page and afterwards back by GET; what was typed in a form is kept, where it is no code.

    ``owner``: whose session has ended (`form_drafts.session_owner`), "" when none could be loaded.
    """
    owner = owner or form_drafts.expired_session_owner(request)
    form_drafts.save(request, owner)
    target = request.path if request.method == "POST" else request.get_full_path()
    location = f"{reverse('login')}?{urlencode({'next': target})}" if target != "/" else reverse("login")
    if request.headers.get("HX-Request") == "true":
        response = HttpResponse(status=204, headers={"HX-Redirect": location})
    else:
        response = redirect(location)
    if owner:
        # SECURITY: Back must not show the next person the pages of the one whose session ended; `logout` says the same.
        response["Clear-Site-Data"] = '"cache"'
    return response
