"""Rules for keys: states and permissions, names, public keys, and which changes of settings add power."""

__all__ = [
    "account_freeze",
    "approvals",
    "choices",
    "detail_texts",
    "events",
    "key_terms",
    "names",
    "notifications",
    "power",
    "public_keys",
    "rights",
    "settings_change",
]
