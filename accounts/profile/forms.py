"""Forms of the settings: password, phone, e-mail."""

from typing import Any

from django import forms
from django.contrib.auth.hashers import check_password
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from accounts.access.passwords import MAX_LENGTH
from accounts.models import User
from accounts.registration.forms import NewPasswordForm
from hitobit_portal.i18n.fields import CodeField, EmailField, MobileField, RecoveryCodeField


class ChangePasswordForm(NewPasswordForm):
    """The current password, and the new one."""

    current_password = forms.CharField(
        label=_("Current password"),
        strip=False,
        max_length=MAX_LENGTH,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "dir": "ltr"}),
    )

    def clean_password(self) -> str:
        password = super().clean_password()
        # Revealing this is safe: the user has proved both factors, and the current password is required as well.
        if password == self.data.get("current_password"):
            raise ValidationError(_("This is your current password."), code="same")
        return password

    def clean_current_password(self) -> str:
        current: str = self.cleaned_data["current_password"]
        # Not `User.check_password`: it may save a new hash beside the change that is about to happen.
        if not check_password(current, self.user.password):
            raise ValidationError(_("This is not your current password."), code="wrong")
        return current


class OwnForm(forms.Form):
    """A form of a user."""

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user


class NewPhoneForm(OwnForm):
    phone = MobileField(label=_("New mobile number"))

    def clean_phone(self) -> str:
        phone: str = self.cleaned_data["phone"]
        if phone == self.user.phone:
            raise ValidationError(_("This is already your number."), code="same")
        return phone


class LostPhoneForm(NewPhoneForm):
    """The new number, and the proofs that remain without SMS."""

    recovery_code = RecoveryCodeField(label=_("Recovery code"))
    totp_code = CodeField(label=_("Authenticator code"))


class EmailForm(OwnForm):
    email = EmailField(label=_("E-mail"))

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        if email == self.user.email:
            raise ValidationError(_("This is already your e-mail address."), code="same")
        return email
