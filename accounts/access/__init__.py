"""Who may see what: the access guard, sessions, half-finished logins, passwords and form drafts."""

__all__ = [
    "backends",
    "decorators",
    "form_drafts",
    "known_browsers",
    "logins",
    "middleware",
    "passwords",
    "pending_login",
    "redirects",
    "sessions",
    "trusted_devices",
    "user_agents",
]
