"""What staff see of keys: never a secret. They may pause and delete, with an event each; they can't add power."""

from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.events import Event
from accounts.stages import customer
from apikeys.models import ApiKey
from apikeys.rules import State
from hitobit_portal.jalali import digits


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = (
        "label",
        "key_id",
        "owner",
        "state",
        "ip_policy",
        "can_trade",
        "can_withdraw",
        "last_used_at",
        "created_at",
    )
    list_filter = ("state", "ip_policy", "can_trade", "can_withdraw")
    search_fields = ("label", "key_id", "owner__phone", "networks__value")
    list_select_related = ("owner",)
    actions = ("freeze", "revoke")
    fields = (
        *(
            "label",
            "key_id",
            "owner",
            "state",
            "can_read",
            "can_trade",
            "can_withdraw",
            "ip_policy",
            "allowed",
        ),
        *("expires_at", "created_at", "revoked_at", "last_used_at", "last_used_ip"),
    )

    @admin.display(description=_("trusted IPs"))
    def allowed(self, key: ApiKey) -> str:
        return ", ".join(network.value for network in key.networks.all()) or "-"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None and super().has_change_permission(request, obj)

    @admin.action(description=_("Pause the selected keys"), permissions=["change"])
    def freeze(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        self._move(request, keys, State.FROZEN, Event.KEY_FROZEN)

    @admin.action(description=_("Delete the selected keys for good"), permissions=["change"])
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        self._move(request, keys, State.REVOKED, Event.KEY_REVOKED)

    def _move(self, request: HttpRequest, keys: QuerySet[ApiKey], state: State, event: Event) -> None:
        count = 0
        with transaction.atomic():
            for key in keys.select_related("owner"):
                if key.set_state(state):
                    audit.record(
                        event,
                        request,
                        customer=key.owner,
                        actor=customer(request),
                        target=str(key.pk),
                        label=key.label,
                    )
                    count += 1
        self.message_user(request, _("%(n)s keys were changed.") % {"n": digits(count)}, messages.SUCCESS)
