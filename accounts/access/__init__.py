"""Access control: access levels of views, half-finished logins, sessions, passwords, known browsers and form drafts."""

__all__ = [
    "backends",
    "decorators",
    "form_drafts",
    "imported_hashes",
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
