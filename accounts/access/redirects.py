"""Redirects to the login page, and validation of the address to return to after the login."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode

from accounts.access import form_drafts


def safe_next(request: HttpRequest, target: str) -> str:
    """Return ``target`` if it is a path of this site, else ""."""
    hosts = {request.get_host()}
    # SECURITY: browsers remove tabs and line feeds from addresses and would treat "/\t/evil" as "//evil".
    if (
        target.startswith("/")
        and target.isprintable()
        and url_has_allowed_host_and_scheme(target, hosts, require_https=request.is_secure())
    ):
        return target
    return ""


def _login_page(target: str) -> str:
    """Return the name of the login page: where the exchange's account is required, staff have one of their own."""
    return "staff_login" if settings.OIDC_REQUIRED and target.startswith(reverse("admin:index")) else "login"


def redirect_to_login(request: HttpRequest, owner: str = "") -> HttpResponse:
    """Redirect to the login page, which returns to the requested page by GET. Form values that are no secrets are
    kept.

    ``owner``: the id of the user whose session has ended (`form_drafts.session_owner`), "" if no session could be
    loaded.
    """
    owner = owner or form_drafts.expired_session_owner(request)
    form_drafts.save(request, owner)
    target = request.path if request.method == "POST" else request.get_full_path()
    page = reverse(_login_page(target))
    location = f"{page}?{urlencode({'next': target})}" if target != "/" else page
    if request.headers.get("HX-Request") == "true":
        response = HttpResponse(status=204, headers={"HX-Redirect": location})
    else:
        response = redirect(location)
    if owner:
        # SECURITY: the Back button must not show the next user the pages of the session that ended; `logout` sends
        # the same header.
        response["Clear-Site-Data"] = '"cache"'
    return response
