"""Rules of keys: states and permissions, names, public keys, and which change of settings adds power."""

__all__ = [
    "account_freeze",
    "approvals",
    "choices",
    "detail_texts",
    "events",
    "names",
    "notifications",
    "power",
    "public_keys",
    "rights",
    "settings_change",
]
