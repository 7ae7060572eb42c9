"""Pages of a customer's keys: list, detail, confirmation by both codes, rotation, lifecycle, usage, export."""

__all__ = ["confirm", "detail", "first_use", "key_list", "lifecycle_urls", "rotation_urls", "usage_urls"]
