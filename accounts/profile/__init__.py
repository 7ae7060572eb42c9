"""Pages of a customer's own account: settings, phone, e-mail, password, TOTP, sessions, freeze, activity."""

__all__ = ["activity", "safety_urls", "urls"]
