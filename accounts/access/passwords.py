"""Rules for new passwords, and their strength. There is no rule about kinds of characters (NIST SP 800-63B, 3.1.1.2).

Passwords are not normalised. Their length is counted in Unicode code points.
"""

import functools
from dataclasses import dataclass

from django.contrib.auth.password_validation import CommonPasswordValidator
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from zxcvbn import zxcvbn

from accounts.access.breached import is_breached
from accounts.models import User
from hitobit_portal.i18n.bidi import fill
from hitobit_portal.i18n.fields import ascii_digits, compact
from hitobit_portal.i18n.jalali import digits

MIN_LENGTH = 8
MAX_LENGTH = 128  # argon2 hashes any length, and hashing a megabyte costs processor time
MIN_SCORE = 2  # zxcvbn: at least 10^6 guesses; the login's rate limits stop guessing long before that
SCORED_LENGTH = 72  # characters that zxcvbn examines: 0.1 s; its work grows with the square of the length
OWN_NAMES = ("hitobit", "هیتوبیت")

SCORE_LABELS = (
    gettext_lazy("Very weak"),
    gettext_lazy("Weak"),
    gettext_lazy("Fair"),
    gettext_lazy("Good"),
    gettext_lazy("Strong"),
)
EASY = gettext_lazy("This password is easy to guess. Add a word or two; uncommon words are best.")
#: zxcvbn's warnings, which are in English only, and their translations. An unknown warning becomes `EASY`.
WARNINGS = {
    "Straight rows of keys are easy to guess.": gettext_lazy(
        "Rows of keys such as “qwerty” are easy to guess."
    ),
    "Short keyboard patterns are easy to guess.": gettext_lazy("Keyboard patterns are easy to guess."),
    'Repeats like "aaa" are easy to guess.': gettext_lazy("Repeats such as “aaa” are easy to guess."),
    'Repeats like "abcabcabc" are only slightly harder to guess than "abc".': gettext_lazy(
        "“abcabcabc” is only slightly harder to guess than “abc”."
    ),
    'Sequences like "abc" or "6543" are easy to guess.': gettext_lazy(
        "Sequences such as “abc” or “6543” are easy to guess."
    ),
    "Recent years are easy to guess.": gettext_lazy("Years are easy to guess."),
    "Dates are often easy to guess.": gettext_lazy("Dates are easy to guess."),
    "This is a top-10 common password.": gettext_lazy("This is one of the ten most common passwords."),
    "This is a top-100 common password.": gettext_lazy("This is one of the hundred most common passwords."),
    "This is a very common password.": gettext_lazy("This is a very common password."),
    "This is similar to a commonly used password.": gettext_lazy("This resembles a very common password."),
    "A word by itself is easy to guess.": gettext_lazy("A single word is easy to guess."),
    "Names and surnames by themselves are easy to guess.": gettext_lazy(
        "A name on its own is easy to guess."
    ),
    "Common names and surnames are easy to guess.": gettext_lazy("Common names are easy to guess."),
}


@dataclass(frozen=True)
class Strength:
    """``score``: 0 (very weak) to 4 (strong). ``reason``: why the password is refused, "" if it is accepted."""

    score: int
    reason: str = ""

    @property
    def text(self) -> str:
        label = str(SCORE_LABELS[self.score])
        return f"{label}: {self.reason}" if self.reason else label


def strength(password: str, phone: str = "") -> Strength:
    """Return the strength of ``password`` for the owner of ``phone`` (E.164, "" if unknown)."""
    violation = _violated_rule(password, phone)
    if violation:
        return Strength(0, violation)
    # Persian digits count as ASCII digits: ۱۲۳۴۵۶۷۸ is as easy to type and to guess. `user_inputs` is not used:
    # zxcvbn keeps it in a global that other threads would read.
    estimate = zxcvbn(ascii_digits(password[:SCORED_LENGTH]), max_length=SCORED_LENGTH)
    score = int(estimate["score"])
    warning = WARNINGS.get(str(estimate["feedback"]["warning"]), EASY)
    if score < MIN_SCORE:
        return Strength(score, str(warning))
    # SECURITY: attackers try the passwords of published breaches first, whatever their strength.
    if is_breached(password):
        return Strength(
            0, _("This password appears in published data breaches. Choose one that you use nowhere else.")
        )
    return Strength(score)


def _violated_rule(password: str, phone: str) -> str:
    """Return the violated rule as a message, "" if there is none."""
    if len(password) < MIN_LENGTH:
        return fill(_("Use at least %(n)s characters."), n=digits(MIN_LENGTH))
    if len(password) > MAX_LENGTH:
        return fill(_("Use at most %(n)s characters."), n=digits(MAX_LENGTH))
    if any(name in password.casefold() for name in OWN_NAMES):
        return _("It contains the name Hitobit, which is easy to guess.")
    # The last ten digits, so that the number is found with or without country code and leading zero.
    number = phone.removeprefix("+")[-10:]
    if number and number in compact(password):
        return _("It contains your mobile number, which is easy to guess.")
    try:
        _common_passwords().validate(password)
    except ValidationError:
        return _("This is a very common password.")
    return ""


@functools.cache
def _common_passwords() -> CommonPasswordValidator:
    return CommonPasswordValidator()  # reads its list of 20,000 passwords when it is created


class PasswordValidator:
    """Validator for AUTH_PASSWORD_VALIDATORS. It reports one reason at a time."""

    def validate(self, password: str, user: User | None = None) -> None:
        """Raise `ValidationError` with the reason."""
        reason = strength(password, user.phone if user is not None else "").reason
        if reason:
            raise ValidationError(reason, code="password")

    def get_help_text(self) -> str:
        return _("8 to 128 characters of any kind. Avoid anything that is easy to guess.")
