"""All outcomes of a signed request, each with the status, code and message that the caller gets. Pure."""

from __future__ import annotations

import enum


class Outcome(enum.Enum):
    """Outcome of a signed request. The caller sees `status`, `code` and `msg`; only the key's owner sees the name."""

    ALLOWED = "allowed"
    KEY_MALFORMED = "key_malformed"
    KEY_UNKNOWN = "key_unknown"
    KEY_INACTIVE = "key_inactive"  # deleted or paused
    KEY_EXPIRED = "key_expired"
    KEY_DEGRADED = "key_degraded"  # expired within the last week: read-only
    OWNER_INACTIVE = "owner_inactive"
    OWNER_FROZEN = "owner_frozen"
    ADDRESS_REFUSED = "address_refused"
    PARAMETER_MISSING = "parameter_missing"
    PARAMETER_DUPLICATE = "parameter_duplicate"
    RECV_WINDOW = "recv_window"
    STALE = "stale"
    AHEAD = "ahead"
    SIGNATURE = "signature"
    PERMISSION = "permission"
    TRADE_LAPSED = "trade_lapsed"  # an unrestricted key's permission to trade was not renewed in time
    QUARANTINE = "quarantine"  # the account's password or a factor was replaced recently: keys are read-only
    REPLAYED = "replayed"  # the same request was allowed before
    RATE_LIMITED = "rate_limited"

    @property
    def status(self) -> int:
        return _ANSWERS[self][0]

    @property
    def code(self) -> int:
        return _ANSWERS[self][1]

    @property
    def msg(self) -> str:
        """Return the message of the contract, with placeholders."""
        return _ANSWERS[self][2]


# SECURITY: all of these have the same response. Otherwise a caller could find out which keys exist and who owns them.
_REFUSED = (401, -2015, "Invalid API-key, IP, or permissions for action.")
_MISSING = "Mandatory parameter '%s' was not sent, was empty/null, or malformed."
_AHEAD = "Timestamp for this request was 1000ms ahead of the server's time."

_ANSWERS: dict[Outcome, tuple[int, int, str]] = {
    Outcome.ALLOWED: (200, 0, ""),
    Outcome.KEY_MALFORMED: (401, -2014, "API-key format invalid."),
    Outcome.KEY_UNKNOWN: _REFUSED,
    Outcome.KEY_INACTIVE: _REFUSED,
    Outcome.KEY_EXPIRED: _REFUSED,
    Outcome.KEY_DEGRADED: _REFUSED,
    Outcome.OWNER_INACTIVE: _REFUSED,
    Outcome.OWNER_FROZEN: _REFUSED,
    Outcome.ADDRESS_REFUSED: _REFUSED,
    Outcome.PARAMETER_MISSING: (400, -1102, _MISSING),
    Outcome.PARAMETER_DUPLICATE: (400, -1101, "Too many parameters; expected '%d' and received '%d'."),
    Outcome.RECV_WINDOW: (400, -1131, "recvWindow must be less than 60000"),
    Outcome.STALE: (400, -1021, "Timestamp for this request is outside of the recvWindow."),
    Outcome.AHEAD: (400, -1021, _AHEAD),
    Outcome.SIGNATURE: (400, -1022, "Signature for this request is not valid."),
    Outcome.PERMISSION: _REFUSED,
    Outcome.TRADE_LAPSED: _REFUSED,
    Outcome.QUARANTINE: _REFUSED,
    Outcome.REPLAYED: (400, -1022, "Signature for this request is not valid."),
    Outcome.RATE_LIMITED: (429, -1003, "Too many requests; current limit is %s requests per %s."),
}
