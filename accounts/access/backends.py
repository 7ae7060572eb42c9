"""Authentication backend: password by phone number, with the same work for unknown numbers."""

from typing import Any

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.hashers import check_password, make_password
from django.http import HttpRequest

from accounts.access import imported_hashes
from accounts.models import User


class PhoneBackend(ModelBackend):
    """Django's backend. It loads the factors together with the user, because every page reads both."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **_: Any
    ) -> User | None:
        """Return the user with this number and password, who may log in with it; after the same work for every number.

        Customers may not where they have to log in with the exchange's account (`PORTAL_OIDC_REQUIRED`).
        """
        if username is None or password is None:
            return None
        try:
            user = User.objects.get_by_natural_key(username)
        except User.DoesNotExist:
            User().set_password(password)
            imported_hashes.spend_same_work(password, "")
            return None
        hashed = user.password  # a login replaces it, if it was imported
        # SECURITY: a right password that does not log in is answered as a wrong one is, after the same work, or the
        # page would confirm it.
        if self._may_use_password(user):
            if self._is_right(user, password):
                return user
        else:
            check_password(password, hashed)
        imported_hashes.spend_same_work(password, hashed)
        return None

    def _is_right(self, user: User, password: str) -> bool:
        """Return whether the password is right. It then replaces a hash that was imported, or has other parameters."""
        hashed, is_overtaken = user.password, False

        def renew(raw: str) -> None:
            nonlocal is_overtaken
            renewed = make_password(raw)
            if User.objects.filter(pk=user.pk, password=hashed).update(password=renewed):
                user.password = renewed
            else:
                is_overtaken = True

        # SECURITY: not `User.check_password`, which would save the hash of this password over one that the owner has
        # set while it was compared.
        if not check_password(password, hashed, renew):
            return False
        if is_overtaken:  # perhaps by a login with the same password
            user.refresh_from_db()
            return self._may_use_password(user) and check_password(password, user.password)
        return True

    def _may_use_password(self, user: User) -> bool:
        return self.user_can_authenticate(user) and (user.is_staff or not settings.OIDC_REQUIRED)

    def get_user(self, user_id: int) -> User | None:
        try:
            user = User.objects.select_related("totp", "sms").get(pk=user_id)
        except User.DoesNotExist:
            return None
        return user if self.user_can_authenticate(user) else None
