"""Actions on an account: freeze, phone, authenticator, scheduled changes, invitations, preferences, links. No pages."""

__all__ = [
    "authenticator",
    "exchange_link",
    "freeze",
    "invitations",
    "pending_accounts",
    "phone",
    "preferences",
    "scheduled_changes",
]
