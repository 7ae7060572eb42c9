"""Django admin for staff: customers, events, the actions on them, and the rights of each role."""

__all__ = [
    "access",
    "access_log",
    "base_admin",
    "customers",
    "events",
    "forms",
    "opaque_ids",
    "paging",
    "presenters",
    "search",
    "sections",
    "site",
    "sms_deliveries",
    "webhooks",
]
