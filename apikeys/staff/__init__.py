"""Django admin for keys: the dashboard, filters, the actions on keys, and each key's status."""

__all__ = ["actions", "dashboard", "filters", "key_status", "sections"]
