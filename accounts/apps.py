"""Application configurations of accounts, and of its admin site."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from accounts.audit import event_recorded
        from accounts.notifications import policy
        from hitobit_portal.config import checks  # noqa: F401  (registers the system checks)

        event_recorded.connect(policy.on_event_recorded, dispatch_uid="notifications")


class AdminConfig(DjangoAdminConfig):
    default_site = "accounts.staff.site.PortalAdminSite"
