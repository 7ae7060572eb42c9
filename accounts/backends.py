"""The authentication backend under the path that sessions store; another path would end every session."""

from accounts.access.backends import PhoneBackend

__all__ = ["PhoneBackend"]
