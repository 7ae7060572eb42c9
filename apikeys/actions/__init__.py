"""What changes a key: lifecycle, rotation, reminders before it expires, approval of a new address; the key loader."""

__all__ = ["address_approval", "consent", "expiry_reminders", "key_loader", "lifecycle", "rotation"]
