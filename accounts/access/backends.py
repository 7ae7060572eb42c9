"""Authentication backend: password by phone number, with the same work for unknown numbers."""

from django.contrib.auth.backends import ModelBackend

from accounts.models import User


class PhoneBackend(ModelBackend):
    """Django's backend. It loads the factors together with the user, because every page reads both."""

    def get_user(self, user_id: int) -> User | None:
        user = User.objects.select_related("totp", "sms").filter(pk=user_id).first()
        return user if user is not None and self.user_can_authenticate(user) else None
