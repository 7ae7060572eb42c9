"""The named causes why a signed request is rejected. Pure: their texts are in `cause_texts`."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Cause(enum.Enum):
    """The causes. Causes of check 8 name what the client signed, or how, instead of the correct way."""

    # The pasted text
    AMPERSAND_CUT = "ampersand_cut"  # an unquoted & ends the command in a shell
    FRAGMENT = "fragment"
    HTML_ENTITY = "html_entity"
    BODY_FILE = "body_file"
    MULTIPART = "multipart"
    JSON_BODY = "json_body"
    METHOD_UNKNOWN = "method_unknown"
    GET_BODY = "get_body"
    NOT_ENCODED = "not_encoded"
    STRAY_PERCENT = "stray_percent"
    # Checks 1 to 3: the key and the address
    KEY_MISSING = "key_missing"
    KEY_HEADER_NAME = "key_header_name"
    KEY_DECORATED = "key_decorated"
    KEY_INVISIBLE = "key_invisible"
    KEY_LENGTH = "key_length"
    KEY_IS_SECRET = "key_is_secret"  # nosec B105
    KEY_CASE = "key_case"
    KEY_UNKNOWN = "key_unknown"
    KEY_REVOKED = "key_revoked"
    KEY_FROZEN = "key_frozen"
    KEY_EXPIRED = "key_expired"
    OWNER_INACTIVE = "owner_inactive"
    OWNER_FROZEN = "owner_frozen"
    ADDRESS = "address"
    ADDRESS_HERE = "address_here"  # the browser's address, because no other one was given
    # Checks 4 to 7: the parameters
    TIMESTAMP_MISSING = "timestamp_missing"
    TIMESTAMP_NAME = "timestamp_name"
    TIMESTAMP_MALFORMED = "timestamp_malformed"
    SIGNATURE_MISSING = "signature_missing"
    SIGNATURE_NAME = "signature_name"
    SIGNATURE_HEADER = "signature_header"
    RECV_WINDOW_MALFORMED = "recv_window_malformed"
    DUPLICATE = "duplicate"
    TWO_SIGNATURES = "two_signatures"
    RECV_WINDOW_LARGE = "recv_window_large"
    TIMESTAMP_SECONDS = "timestamp_seconds"
    TIMESTAMP_NANOSECONDS = "timestamp_nanoseconds"
    TIMESTAMP_ZONE = "timestamp_zone"
    TIMESTAMP_PAST = "timestamp_past"
    TIMESTAMP_FUTURE = "timestamp_future"
    TIMESTAMP_AGED = "timestamp_aged"  # pasted later than sent: the clock cannot be checked
    # Check 8: what was signed
    SORTED = "sorted"
    OTHER_ORDER = "other_order"
    PARAMETER_LEFT_OUT = "parameter_left_out"
    EMPTY_DROPPED = "empty_dropped"
    AFTER_SIGNATURE = "after_signature"
    BEFORE_ENCODING = "before_encoding"
    ENCODED_ONLY_SIGNED = "encoded_only_signed"
    ENCODED_TWICE = "encoded_twice"
    SIGNED_ENCODED_TWICE = "signed_encoded_twice"
    SPACE_SPELLING = "space_spelling"
    ENCODING_CASE = "encoding_case"
    LETTER_CASE = "letter_case"
    NUMBER_FORMAT = "number_format"
    TIMESTAMP_UNIT = "timestamp_unit"
    TIMESTAMP_TWICE = "timestamp_twice"
    LINE_ENDS = "line_ends"
    BODY_LEFT_OUT = "body_left_out"
    QUERY_LEFT_OUT = "query_left_out"
    JOINED_AMPERSAND = "joined_ampersand"
    BODY_FIRST = "body_first"
    QUESTION_MARK = "question_mark"
    PATH_SIGNED = "path_signed"
    ADDRESS_SIGNED = "address_signed"
    OTHER_SCHEME = "other_scheme"
    NEWLINE = "newline"
    CRLF = "crlf"
    SPACE_AROUND = "space_around"
    BOM = "bom"
    STRAY_AMPERSAND = "stray_ampersand"
    SIGNATURE_SIGNED = "signature_signed"
    NOTHING_SIGNED = "nothing_signed"
    JSON_SIGNED = "json_signed"
    QUOTES_SIGNED = "quotes_signed"
    HTML_SIGNED = "html_signed"
    UTF16 = "utf16"
    NO_SEPARATOR = "no_separator"
    HASHED_FIRST = "hashed_first"
    PAYLOAD_ENCODED = "payload_encoded"
    WINDOW_NOT_SENT = "window_not_sent"
    # Check 8: how it was signed
    SECRET_NEWLINE = "secret_newline"  # nosec B105
    SECRET_SPACE = "secret_space"  # nosec B105
    SECRET_QUOTED = "secret_quoted"  # nosec B105
    SECRET_DECODED = "secret_decoded"  # nosec B105
    SECRET_ENCODED = "secret_encoded"  # nosec B105
    SECRET_CASE = "secret_case"  # nosec B105
    SECRET_CUT = "secret_cut"  # nosec B105
    SECRET_EMPTY = "secret_empty"  # nosec B105
    KEY_AS_SECRET = "key_as_secret"  # nosec B105
    OTHER_KEY = "other_key"
    CREDENTIAL_ENDED = "credential_ended"
    ALGORITHM = "algorithm"
    PLAIN_HASH = "plain_hash"
    RSA_PSS = "rsa_pss"
    # Check 8: how the signature is written
    SIGNATURE_BASE64 = "signature_base64"
    SIGNATURE_HEX = "signature_hex"
    SIGNATURE_BASE64URL = "signature_base64url"
    SIGNATURE_PADDING = "signature_padding"
    SIGNATURE_WRAPPED = "signature_wrapped"
    SIGNATURE_DECORATED = "signature_decorated"
    SIGNATURE_TWICE = "signature_twice"
    SIGNATURE_SHAPE = "signature_shape"
    KIND_MISMATCH = "kind_mismatch"
    SIGNATURE_UNKNOWN = "signature_unknown"
    # Check 9
    PERMISSION = "permission"
    KEY_DEGRADED = "key_degraded"
    TRADE_LAPSED = "trade_lapsed"
    QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True)
class DetectedCause:
    """A cause with the arguments for its text's placeholders (names and numbers, never a secret or a signature)."""

    cause: Cause
    arguments: tuple[tuple[str, str], ...] = ()


def detected(cause: Cause, **arguments: str | int) -> DetectedCause:
    """Return a `DetectedCause` with keyword arguments; long values are cut, because they come from the pasted text."""
    return DetectedCause(cause, tuple((name, str(value)[:64]) for name, value in arguments.items()))
