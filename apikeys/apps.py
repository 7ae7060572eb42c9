"""Application configuration."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ApiKeysConfig(AppConfig):
    name = "apikeys"
    verbose_name = _("API keys")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from apikeys.actions import erasure, expiry_reminders, key_requests
        from apikeys.operations import doctor, retention, webhooks
        from apikeys.policy import approvals, detail_texts, events, notifications, rights
        from apikeys.staff import sections

        for module in (
            events,
            approvals,
            detail_texts,
            notifications,
            rights,
            expiry_reminders,
            key_requests,
            erasure,
            doctor,
            retention,
            sections,
            webhooks,
        ):
            module.register()
