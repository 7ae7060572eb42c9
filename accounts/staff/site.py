"""The admin site: uses the portal's login, for staff whose second factor was proved in this session."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _

from accounts.access.redirects import redirect_to_login
from accounts.models import User
from accounts.staff import sections
from hitobit_portal.http import error_pages

#: SECURITY: passwords are changed with both codes, on the portal's own page. The other URLs are not needed.
REMOVED_URLS = frozenset(
    {"password_change", "password_change_done", "autocomplete", "view_on_site", "app_list", "jsi18n"}
)


class PortalAdminSite(admin.AdminSite):
    site_title = site_header = _("Hitobit API portal")
    index_title = _("Staff")
    enable_nav_sidebar = False

    def get_urls(self) -> list[Any]:
        return [route for route in super().get_urls() if getattr(route, "name", None) not in REMOVED_URLS]

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        return {"staff_right": self.has_permission(request), "site_header": self.site_header}

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the overview, with what each app adds to it (`accounts.staff.sections`)."""
        context = {
            **self.each_context(request),
            "section": "overview",
            **sections.overview_context(request),
        }
        return TemplateResponse(request, "admin/index.html", context)

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Redirect to the portal's own logout: Django's would leave the session row."""
        return redirect("dashboard")

    def has_permission(self, request: HttpRequest) -> bool:
        user = request.user
        if not isinstance(user, User) or not user.is_active or not user.is_staff:
            return False
        return user.is_verified() and user.has_both_factors

    def login(self, request: HttpRequest, extra_context: dict[str, object] | None = None) -> HttpResponse:
        """Redirect to the portal's login. SECURITY: Django's own form asks for a password only and is never shown."""
        return error_pages.forbidden(request) if request.user.is_authenticated else redirect_to_login(request)
