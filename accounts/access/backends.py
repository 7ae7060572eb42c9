"""Authentication backend: password by phone number, with the same work for unknown numbers."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from accounts.access import imported_hashes
from accounts.models import User


class PhoneBackend(ModelBackend):
    """Django's backend. It loads the factors together with the user, because every page reads both."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **_: Any
    ) -> User | None:
        """Return the active user with this number and password; after the same work for every number."""
        if username is None or password is None:
            return None
        try:
            user = User.objects.get_by_natural_key(username)
        except User.DoesNotExist:
            User().set_password(password)
            imported_hashes.spend_same_work(password, "")
            return None
        hashed = user.password  # the right password replaces it
        if user.check_password(password):
            return user if self.user_can_authenticate(user) else None
        imported_hashes.spend_same_work(password, hashed)
        return None

    def get_user(self, user_id: int) -> User | None:
        user = User.objects.select_related("totp", "sms").filter(pk=user_id).first()
        return user if user is not None and self.user_can_authenticate(user) else None
