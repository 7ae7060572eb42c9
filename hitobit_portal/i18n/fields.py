"""Form fields that accept Persian digits: codes, phone numbers, e-mail addresses and days."""

import re
import unicodedata
from datetime import date
from typing import Any

import jdatetime
import phonenumbers
from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import EmailValidator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from hitobit_portal.i18n import bidi, free_text

DIGITS = {
    ord(digit): str(value)
    for start in (0x06F0, 0x0660)
    for value, digit in ((n, chr(start + n)) for n in range(10))
}
# What a copied code may contain: white space, dashes, and invisible marks of bidirectional text.
SEPARATORS = re.compile(r"[\s\-\u2010-\u2015\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]+")
CODE = re.compile(r"[0-9]{6}")
RECOVERY_CODE = re.compile(r"[a-z0-9]{8}")
LONGEST_INPUT = 100
FIRST_GREGORIAN_YEAR = 1700


FREE_TEXT = {
    free_text.Problem.HIDDEN: _("This text contains invisible characters. Type it again."),
    free_text.Problem.LINK: _(
        "Leave out links, web and e-mail addresses, and phone numbers, and put a space after each full stop."
    ),
}


def validate_free_text(text: str) -> None:
    """Validate text that leaves the portal by `free_text.problem`. Raises `ValidationError`."""
    problem = free_text.problem(text)
    if problem is not None:
        raise ValidationError(FREE_TEXT[problem], code=problem.value)


def ascii_digits(text: str) -> str:
    """Convert Persian (۰-۹) and Arabic-Indic (٠-٩) digits to ASCII; everything else is unchanged."""
    return text.translate(DIGITS)


def compact(text: str) -> str:
    return SEPARATORS.sub("", ascii_digits(text))


class CodeField(forms.CharField):
    """A one-time code of exactly six digits, as ``str``.

    SECURITY: `int()` and `str.isdigit()` accept ``+123``, ``1_2_3`` and superscripts, so only ``[0-9]{6}`` is accepted.
    """

    default_error_messages = {"invalid": _("A code has six digits.")}
    pattern = CODE

    def to_python(self, value: Any) -> str:
        text = str(value or "")
        cleaned = compact(text[:LONGEST_INPUT])
        if not cleaned:
            return ""
        if len(text) > LONGEST_INPUT or not self.pattern.fullmatch(cleaned):
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        return cleaned

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        return {"autocomplete": "one-time-code", "inputmode": "numeric", "dir": "ltr"}


class RecoveryCodeField(CodeField):
    """A recovery code: eight letters and digits. Dashes and case are ignored."""

    default_error_messages = {"invalid": _("A recovery code looks like k7pm-2xq9.")}
    pattern = RECOVERY_CODE

    def to_python(self, value: Any) -> str:
        return super().to_python(str(value or "").lower())

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        return {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false", "dir": "ltr"}


def _read_phone(text: str) -> phonenumbers.PhoneNumber | None:
    """Parse a number in any usual format, with Iran as the default region. It may be invalid. None: not a number."""
    if len(text) > LONGEST_INPUT:
        return None
    cleaned = compact(text).replace("(", "").replace(")", "")
    if re.fullmatch(r"98[0-9]{10}", cleaned):
        cleaned = f"+{cleaned}"
    if not re.fullmatch(r"\+?[0-9]{8,15}", cleaned):
        return None
    try:
        return phonenumbers.parse(cleaned, "IR")
    except phonenumbers.NumberParseException:
        return None


def parse_phone(text: str) -> str | None:
    """Return a phone number in any usual format as E.164 (ITU-T); None if it is not valid.

    For numbers of existing accounts. A number that is new to the portal must also pass `is_served`.
    """
    number = _read_phone(text)
    if number is None or not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


#: In some countries (Canada, the United States) mobile phones and landlines have the same numbers.
MOBILE = (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE)


def is_served(phone: str) -> bool:
    """Return whether SMS are sent to ``phone`` (E.164): a mobile number of one of `settings.SMS_COUNTRIES`.

    SECURITY: a message to a premium or satellite number costs many times the usual price, and the owner of the number
    gets a share of it. Numbers without a country (+870, +881, +882, +979) have the region "001".
    """
    number = _read_phone(phone)
    return (
        number is not None
        and phonenumbers.number_type(number) in MOBILE
        and phonenumbers.region_code_for_number(number) in settings.SMS_COUNTRIES
    )


def parse_served(text: str) -> str | None:
    """Return a number in any usual format as E.164 if SMS are sent to it (`is_served`), else None; with one parse."""
    number = _read_phone(text)
    # A number of a known type is valid.
    if (
        number is None
        or phonenumbers.number_type(number) not in MOBILE
        or phonenumbers.region_code_for_number(number) not in settings.SMS_COUNTRIES
    ):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def served_prefixes() -> str:
    """Return the prefixes of the numbers that are served, for people: ``+98, +49``."""
    codes = {phonenumbers.country_code_for_region(country) for country in settings.SMS_COUNTRIES}
    return ", ".join(bidi.isolated(f"+{code}") for code in sorted(codes))


def not_served() -> str:
    """Return the error message for a number to which no SMS is sent."""
    return bidi.fill(
        gettext(
            "No SMS is sent to this number. Use a mobile number that begins with %(prefixes)s; landlines, premium and "
            "satellite numbers are not accepted."
        ),
        prefixes=bidi.verbatim(served_prefixes()),
    )


class PhoneField(forms.CharField):
    """The phone number of an account; cleans to E.164."""

    default_error_messages = {"invalid": _("Enter a mobile number such as 09121234567.")}

    def to_python(self, value: Any) -> str:
        text = str(value or "").strip()
        if not text:
            return ""
        phone = parse_phone(text)
        if phone is None:
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        return phone

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        return {"autocomplete": "username", "inputmode": "tel", "dir": "ltr"}


class MobileField(PhoneField):
    """A phone number that is new to the portal. SMS will be sent to it, so it must pass `is_served`."""

    def to_python(self, value: Any) -> str:
        number = _read_phone(str(value or "").strip())
        codes = {phonenumbers.country_code_for_region(country) for country in settings.SMS_COUNTRIES}
        foreign = number is not None and number.country_code not in codes
        # Before validation: numbers of +979 and +882 are not valid, but have these prefixes.
        if foreign:
            raise ValidationError(not_served(), code="not_served")
        phone = super().to_python(value)
        if phone and not is_served(phone):
            raise ValidationError(not_served(), code="not_served")
        return phone


class EmailField(forms.EmailField):
    """An e-mail address that may appear in messages of the portal.

    SECURITY: Django's field accepts a quoted local part (RFC 5322), which may contain any sentence, an IP address as
    the domain, and in a domain characters that IDNA removes (U+00AD). Here the local part is a dot-atom, and a domain
    has letters, digits and marks only.
    """

    default_error_messages = {"invalid": _("Enter an e-mail address such as sara@example.com.")}
    default_validators = [EmailValidator(message=default_error_messages["invalid"])]
    local = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
    longest_local = 64  # RFC 5321, 4.5.3.1.1

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_length": 254, **options})

    def clean(self, value: Any) -> Any:
        address = super().clean(value)
        local, _at, domain = address.rpartition("@")
        if address and (
            len(local) > self.longest_local
            or not self.local.fullmatch(local)
            or not all(char in ".-" or unicodedata.category(char)[0] in "LMN" for char in domain)
            or unicodedata.normalize("NFKC", domain) != domain
            or free_text.has_hidden(domain)
        ):
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        return address


class DayField(forms.Field):
    """A day, Jalali (1405/9/1) or Gregorian (2026-11-22), in any digits; cleans to `datetime.date`.

    The year tells the calendars apart: the Jalali year 1700 is the Gregorian year 2321.
    """

    default_error_messages = {"invalid": _("Enter a date such as 1405/09/01 or 2026-11-22.")}
    pattern = re.compile(r"([0-9]{4})[-/.]([0-9]{1,2})[-/.]([0-9]{1,2})")

    def to_python(self, value: Any) -> date | None:
        match = self.pattern.fullmatch(ascii_digits(str(value or ""))[:LONGEST_INPUT].strip())
        if not str(value or "").strip():
            return None
        try:
            if match is None:
                raise ValueError
            year, month, day = map(int, match.groups())
            if year < FIRST_GREGORIAN_YEAR:
                return jdatetime.date(year, month, day).togregorian()  # type: ignore[no-any-return]
            return date(year, month, day)
        except ValueError:
            raise ValidationError(self.error_messages["invalid"], code="invalid") from None
