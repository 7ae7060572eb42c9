"""Actions on an account: freeze, phone, authenticator, scheduled changes, erasure, invitations, preferences,
links. No pages.
"""

__all__ = [
    "authenticator",
    "erasure",
    "exchange_link",
    "freeze",
    "invitations",
    "pending_accounts",
    "phone",
    "preferences",
    "scheduled_changes",
]
