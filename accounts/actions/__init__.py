"""What changes an account: freeze, phone, scheduled changes, invitations, preferences. Functions, no pages."""

__all__ = [
    "authenticator",
    "freeze",
    "invitations",
    "pending_accounts",
    "phone",
    "preferences",
    "scheduled_changes",
]
