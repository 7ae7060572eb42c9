"""Django admin behind the portal's own login: staff, with the second factor proved in this session."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from accounts.stages import to_login
from hitobit_portal import errors


class PortalAdminSite(admin.AdminSite):
    site_title = site_header = _("Hitobit API portal")
    index_title = _("Staff")
    enable_nav_sidebar = False

    def has_permission(self, request: HttpRequest) -> bool:
        user = request.user
        if not isinstance(user, User) or not user.is_active or not user.is_staff:
            return False
        return user.is_verified() and user.has_both_factors

    def login(self, request: HttpRequest, extra_context: dict[str, object] | None = None) -> HttpResponse:
        """SECURITY: Django's own form asks for a password only; it is never shown."""
        return errors.forbidden(request) if request.user.is_authenticated else to_login(request)
