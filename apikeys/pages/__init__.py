"""Pages of a customer's keys: list, detail, confirmation by both codes, rotation, lifecycle, usage, export."""

__all__ = ["first_use", "urls"]
