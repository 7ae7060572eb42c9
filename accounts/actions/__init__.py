"""Actions on an account: freeze, phone, authenticator, scheduled changes, invitations, preferences. No pages."""

__all__ = [
    "authenticator",
    "freeze",
    "invitations",
    "pending_accounts",
    "phone",
    "preferences",
    "scheduled_changes",
]
