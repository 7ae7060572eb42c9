"""What staff see of people: no seed, no code, no digest; and nothing of the audit trail can be edited."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.events import Event
from accounts.models import AuditEvent, User
from accounts.stages import customer


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]
    """Staff look; they don't add, edit or delete."""

    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(User)
class UserAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A customer: staff may correct the name and switch the account off."""

    list_display = ("phone", "name", "is_active", "is_staff", "factors", "created_at")
    list_filter = ("is_active", "is_staff")
    search_fields = ("phone", "name")
    fields = (
        "phone",
        "name",
        "is_active",
        "is_staff",
        "is_superuser",
        "groups",
        "factors",
        "created_at",
        "last_login",
    )
    actions = None
    list_select_related = ("totp", "sms")

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Accounts only: a number that somebody merely typed is no customer."""
        return super().get_queryset(request).exclude(joined_at=None)

    @admin.display(description=_("second factors"))
    def factors(self, user: User) -> str:
        totp, sms = getattr(user, "totp", None), getattr(user, "sms", None)
        confirmed = [
            str(name)
            for name, device in ((_("authenticator"), totp), (_("SMS"), sms))
            if device and device.confirmed
        ]
        return ", ".join(confirmed) or "-"

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        fixed = ("phone", "factors", "created_at", "last_login")
        # SECURITY: only a superuser grants staff rights; anybody else would grant them to themselves.
        return fixed if request.user.is_superuser else (*fixed, "is_staff", "is_superuser", "groups")

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        # SECURITY: "?password__startswith=argon2..." would tell staff the digest, letter by letter.
        return not lookup.startswith("password") and super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        audit.record(
            Event.STAFF_CHANGED_USER, request, customer=obj, actor=customer(request), fields=form.changed_data
        )


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnly):
    list_display = ("at", "event", "customer", "actor", "label", "succeeded", "address")
    list_filter = ("event", "succeeded", "at")
    search_fields = ("customer__phone", "target", "address", "label")
    list_select_related = ("customer", "actor")
    date_hierarchy = None
