"""Who may see what: the access guard, sessions, half-finished logins, passwords and form drafts."""

__all__ = [
    "backends",
    "form_drafts",
    "guard",
    "known_browsers",
    "logins",
    "passwords",
    "sessions",
    "trusted_devices",
    "user_agents",
]
