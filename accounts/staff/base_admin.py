"""Base class of read-only admin pages. None of Django's own forms is accessible."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path

from accounts.choices.roles import StaffRight
from accounts.staff import access
from hitobit_portal.http import error_pages


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Admin without adding, editing or deleting. ``right``: needed to view; ``id_form``: the path converter of its
    ids.
    """

    right: StaffRight
    id_form: str
    actions = None

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return access.has_right(request, self.right)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return access.has_right(request, self.right)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        """Return the URLs of the list, of a row, and of its history, which is a list of events.

        SECURITY: no sequential id appears in a URL (`accounts.staff.opaque_ids`).
        """
        wrap, name = self.admin_site.admin_view, f"{self.opts.app_label}_{self.opts.model_name}"
        row = f"<{self.id_form}:object_id>"
        return [
            path("", wrap(self.changelist_view), name=f"{name}_changelist"),
            path("add/", wrap(self.forbidden), name=f"{name}_add"),
            path(f"{row}/change/", wrap(self.row_view), name=f"{name}_change"),
            path(f"{row}/delete/", wrap(self.forbidden), name=f"{name}_delete"),
            path(f"{row}/history/", wrap(self.to_page), name=f"{name}_history"),
            path(f"{row}/", wrap(self.to_page), name=f"{name}_row"),
        ]

    def row_view(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Show the page of one row."""
        raise NotImplementedError

    def forbidden(self, request: HttpRequest, object_id: Any = None) -> HttpResponse:
        return error_pages.forbidden(request)

    def to_page(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        access.require_right(request, self.right)
        return redirect(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", object_id)
