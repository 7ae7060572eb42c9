"""Login with the exchange's account (OpenID Connect). It takes the place of the password; both factors stay."""

__all__ = ["linking", "provider", "urls"]
