"""Forms of sign-up and "forgotten password", and the form for every new password."""

from typing import Any

from django import forms
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from accounts.access.passwords import Strength, strength
from accounts.models import User
from hitobit_portal.i18n.fields import CodeField, MobileField, RecoveryCodeField


class PhoneForm(forms.Form):
    phone = MobileField(label=_("Mobile number"))


class SmsCodeForm(forms.Form):
    code = CodeField(label=_("Verification code"))


class ForgotTotpForm(forms.Form):
    """The SMS code and the code of the authenticator."""

    sms_code = CodeField(label=_("SMS code"))
    totp_code = CodeField(label=_("Authenticator code"))


class ForgotRecoveryForm(forms.Form):
    """The SMS code and, in place of a lost authenticator, a recovery code."""

    sms_code = CodeField(label=_("SMS code"))
    recovery_code = RecoveryCodeField(label=_("Recovery code"))


class NewPasswordForm(forms.Form):
    """A new password for ``user``, typed once: it can be shown, and a mistyped one is replaced by "forgotten
    password".

    ``strength``: the strength of a refused password, for the meter of `parts/new_password.html`; None before.
    """

    password = forms.CharField(
        label=_("New password"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password", "dir": "ltr"}),
    )

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        self.strength: Strength | None = None

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        try:
            validate_password(password, self.user)
        except ValidationError:
            self.strength = strength(password, self.user.phone)
            raise
        return password
