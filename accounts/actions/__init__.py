"""What changes an account: freeze, phone, scheduled changes, invitations, preferences. Functions, no pages."""

__all__ = [
    "authenticator",
    "freeze",
    "invitations",
    "phone",
    "placeholders",
    "preferences",
    "scheduled_changes",
]
