"""Pages before a login: sign-up by invitation or SMS code, and password reset."""

__all__ = ["flow", "forms", "urls"]
