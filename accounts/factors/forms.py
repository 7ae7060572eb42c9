"""Forms of login and enrolment."""

from django import forms
from django.utils.translation import gettext_lazy as _

from hitobit_portal.i18n.fields import CodeField, PhoneField, RecoveryCodeField


class LoginForm(forms.Form):
    phone = PhoneField(label=_("Mobile number"))
    # 128: argon2 hashes any length, and a megabyte of password is a cheap way to keep a processor busy.
    password = forms.CharField(
        label=_("Password"),
        strip=False,
        max_length=128,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "dir": "ltr"}),
    )


class CodeForm(forms.Form):
    """One code: a login's second factor, or an enrolment."""

    code = CodeField(label=_("Authentication code"))


class RecoveryForm(forms.Form):
    code = RecoveryCodeField(label=_("Recovery code"))


class TwoCodesForm(forms.Form):
    """Both codes of one approval."""

    sms_code = CodeField(label=_("SMS code"))
    totp_code = CodeField(label=_("Authenticator code"))
