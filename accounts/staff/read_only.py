"""A model in Django admin that is looked at on pages of our own: nothing of Django's forms is reachable."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path

from accounts.roles import Right
from accounts.staff import access
from hitobit_portal import errors


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]
    """No adding, editing or deleting. ``right``: what one needs to look."""

    right: Right
    actions = None

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return access.may(request, self.right)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return access.may(request, self.right)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        """The list, a row's page, and its history, which is a list of events with us."""
        wrap, name = self.admin_site.admin_view, f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            path("", wrap(self.changelist_view), name=f"{name}_changelist"),
            path("add/", wrap(self.forbidden), name=f"{name}_add"),
            path("<path:object_id>/change/", wrap(self.change_view), name=f"{name}_change"),
            path("<path:object_id>/delete/", wrap(self.forbidden), name=f"{name}_delete"),
            path("<path:object_id>/history/", wrap(self.to_page), name=f"{name}_history"),
            path("<path:object_id>/", wrap(self.to_page)),
        ]

    def forbidden(self, request: HttpRequest, object_id: str = "") -> HttpResponse:
        return errors.forbidden(request)

    def to_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        access.need(request, self.right)
        return redirect(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", object_id)
