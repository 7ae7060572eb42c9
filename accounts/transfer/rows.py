"""One row of an import: its fields, checked and normalised as the portal's own pages do."""

from __future__ import annotations

import base64
import binascii
import enum
import functools
import re
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError

from accounts.access import imported_hashes
from accounts.access.imported_hashes import HashRefused
from accounts.choices.external_ids import is_external_id
from hitobit_portal.i18n import free_text
from hitobit_portal.i18n.fields import EmailField, ascii_digits, parse_phone, parse_served

NAME_LENGTH = 80
LANGUAGES = ("", "fa", "en")
#: RFC 4226 asks for 128 bits; many programs give 80, and an authenticator that customers have is better than none.
LEAST_SEED_BYTES, MOST_SEED_BYTES = 10, 64
_USER = re.compile(r"[0-9]{1,18}")
_YES, _NO = ("true", "1", "yes"), ("false", "0", "no")


class RowProblem(enum.Enum):
    """Why a row is refused: (code of the report, sentence)."""

    TOO_LONG = "too_long", "the row has more than 65,536 bytes, or a quote is not closed"
    NOT_UTF8 = "not_utf8", "the row is not in UTF-8"
    MALFORMED = "malformed", "the row is malformed"
    COLUMNS = "columns", "the row has unknown, missing, duplicate or too many columns"
    TYPE = "type", "a value has the wrong type"
    EXTERNAL_ID = "external_id", "external_id is not 1 to 64 characters out of A-Z a-z 0-9 . _ : @ -"
    EXTERNAL_ID_IS_PHONE = (
        "external_id_is_phone",
        "external_id is the phone number, which must not be in logs",
    )
    PHONE = "phone", "phone is no mobile number to which SMS are sent (PORTAL_SMS_COUNTRIES)"
    NAME = (
        "name",
        "name has more than 80 characters, control or invisible characters, a link or a phone number",
    )
    EMAIL = "email", "email is no e-mail address"
    LANGUAGE = "language", "language is not fa or en"
    BOOLEAN = "boolean", "phone_verified or is_active is not true or false"
    PASSWORD_HASH = "password_hash", "password_hash has no format that is known, or takes too much work"  # nosec B105
    HASH_KINDS = "hash_kinds", "password_hash is of a fifth kind; at most four kinds are taken at a time"
    TOTP_SECRET = "totp_secret", "totp_secret is not 10 to 64 bytes in base32"  # nosec B105
    REPEATED_ID = "repeated_id", "an earlier row of the file has this external_id"
    REPEATED_PHONE = "repeated_phone", "an earlier row of the file has this phone"
    OTHER_PHONE = "other_phone", "the account with this external_id has another phone"
    PHONE_TAKEN = "phone_taken", "another account has this phone"
    CONFLICT = "conflict", "somebody took the phone or the external_id during the import"
    # Of `manage.py link_users`.
    WHICH_ACCOUNT = "which_account", "the row does not have exactly one of user (a whole number) and phone"
    REPEATED_ACCOUNT = "repeated_account", "an earlier row of the file names this account"
    NO_ACCOUNT = "no_account", "no customer's account has this number or phone"
    PHONE_UNCONFIRMED = "phone_unconfirmed", "the account's owner has not confirmed this phone in the portal"
    OTHER_ID = "other_id", "the account has another external_id, which never changes"
    ID_TAKEN = "id_taken", "another account has this external_id"

    @property
    def code(self) -> str:
        return self.value[0]

    @property
    def sentence(self) -> str:
        return self.value[1]


class RowRefused(Exception):
    """The row is refused for the `RowProblem` in ``problem``."""

    def __init__(self, problem: RowProblem) -> None:
        super().__init__(problem.code)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class ImportRow:
    """A row that can be stored. ``password``: as Django stores it, "" for none; ``seed``: base32, "" for none."""

    line: int
    external_id: str
    phone: str
    name: str
    email: str
    language: str
    password: str = field(repr=False)
    hash_kind: str
    phone_verified: bool
    seed: str = field(repr=False)
    is_active: bool


def check_row(line: int, fields: dict[str, Any]) -> ImportRow:
    """Return the checked row. Raise `RowRefused`."""
    external_id = _external_id(fields)
    phone = _phone(_text(fields, "phone"))
    check_no_phone(external_id, phone)
    password, kind = _password(_text(fields, "password_hash"))
    return ImportRow(
        line=line,
        external_id=external_id,
        phone=phone,
        name=_name(_text(fields, "name")),
        email=_email(_text(fields, "email")),
        language=_language(_text(fields, "language")),
        password=password,
        hash_kind=kind,
        phone_verified=_boolean(fields, "phone_verified", default=False),
        seed=_seed(_text(fields, "totp_secret")),
        is_active=_boolean(fields, "is_active", default=True),
    )


@dataclass(frozen=True, slots=True)
class LinkRow:
    """A row that gives an existing account its external id. The account: its number ``user``, or else its ``phone``."""

    line: int
    external_id: str
    user: int | None
    phone: str


def check_link_row(line: int, fields: dict[str, Any]) -> LinkRow:
    """Return the checked row of `manage.py link_users`. Raise `RowRefused`."""
    external_id = _external_id(fields)
    number = fields.get("user")
    text = str(number) if type(number) is int else ascii_digits(_text(fields, "user"))
    phone = _text(fields, "phone")
    if bool(text) == bool(phone) or (text and not _USER.fullmatch(text)):
        raise RowRefused(RowProblem.WHICH_ACCOUNT)
    return LinkRow(line, external_id, int(text) if text else None, _phone(phone) if phone else "")


def check_no_phone(external_id: str, phone: str) -> None:
    """Raise `RowRefused` if the id is the phone number. SECURITY: numbers get new owners, and ids are in logs."""
    if phone in (external_id, parse_phone(external_id)):
        raise RowRefused(RowProblem.EXTERNAL_ID_IS_PHONE)


def _external_id(fields: dict[str, Any]) -> str:
    external_id = _text(fields, "external_id")
    if not is_external_id(external_id):
        raise RowRefused(RowProblem.EXTERNAL_ID)
    return external_id


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RowRefused(RowProblem.TYPE)
    return value.strip()


def _phone(text: str) -> str:
    number = parse_served(text)
    if number is None:
        raise RowRefused(RowProblem.PHONE)
    return number


def _name(text: str) -> str:
    if len(text) > NAME_LENGTH or free_text.problem(text) is not None:
        raise RowRefused(RowProblem.NAME)
    return text


@functools.cache
def _email_field() -> EmailField:
    return EmailField(required=False)


def _email(text: str) -> str:
    try:
        return str(_email_field().clean(text)) if text else ""
    except ValidationError:
        raise RowRefused(RowProblem.EMAIL) from None


def _language(text: str) -> str:
    if text.lower() not in LANGUAGES:
        raise RowRefused(RowProblem.LANGUAGE)
    return text.lower()


def _boolean(fields: dict[str, Any], name: str, *, default: bool) -> bool:
    value = fields.get(name)
    if isinstance(value, bool):
        return value
    text = ascii_digits(_text(fields, name)).lower()
    if text and text not in _YES + _NO:
        raise RowRefused(RowProblem.BOOLEAN)
    return text in _YES if text else default


def _password(text: str) -> tuple[str, str]:
    if not text:
        return "", ""
    try:
        return imported_hashes.read(text)
    except HashRefused:
        raise RowRefused(RowProblem.PASSWORD_HASH) from None


def _seed(text: str) -> str:
    """Return the secret in base32 without padding, as authenticator apps take it."""
    compact = text.replace(" ", "").replace("-", "").rstrip("=").upper()
    if not compact:
        if text:
            raise RowRefused(RowProblem.TOTP_SECRET)
        return ""
    try:
        size = len(base64.b32decode(compact + "=" * (-len(compact) % 8)))
    except (binascii.Error, ValueError):
        raise RowRefused(RowProblem.TOTP_SECRET) from None
    if not LEAST_SEED_BYTES <= size <= MOST_SEED_BYTES:
        raise RowRefused(RowProblem.TOTP_SECRET)
    return compact
