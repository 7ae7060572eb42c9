"""Actions on keys: lifecycle, rotation, expiry reminders, approval of new addresses; and the key loader."""

__all__ = [
    "address_approval",
    "consent",
    "expiry_reminders",
    "key_loader",
    "lifecycle",
    "new_networks",
    "rotation",
]
