"""Passwords: by phone number, with the same work for numbers that nobody has."""

from django.contrib.auth.backends import ModelBackend

from accounts.models import User


class PhoneBackend(ModelBackend):
    """Django's backend; loads a person's factors with the person, since every page looks at both."""

    def get_user(self, user_id: int) -> User | None:
        user = User.objects.select_related("totp", "sms").filter(pk=user_id).first()
        return user if user is not None and self.user_can_authenticate(user) else None
