"""Forms with codes: login, enrolment, approval."""

from django import forms
from django.utils.translation import gettext_lazy as _

from hitobit_portal.i18n.fields import CodeField, PhoneField, RecoveryCodeField


class LoginForm(forms.Form):
    phone = PhoneField(label=_("Mobile number"))
    # 128: argon2 hashes any length, and hashing a megabyte costs processor time.
    password = forms.CharField(
        label=_("Password"),
        strip=False,
        max_length=128,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "dir": "ltr"}),
    )


class CodeForm(forms.Form):
    """One code: the second factor of a login, or an enrolment."""

    code = CodeField(label=_("Authentication code"))


class RecoveryForm(forms.Form):
    code = RecoveryCodeField(label=_("Recovery code"))


class TwoCodesForm(forms.Form):
    """Both codes of one approval."""

    sms_code = CodeField(label=_("SMS code"))
    totp_code = CodeField(label=_("Authenticator code"))
