"""Actions on keys: lifecycle, rotation, reminders, approval of new addresses, requests of the exchange; key loader."""

__all__ = [
    "address_approval",
    "consent",
    "erasure",
    "expiry_reminders",
    "key_loader",
    "key_requests",
    "lifecycle",
    "new_networks",
    "rotation",
]
