"""A diagnosis as the page shows it: words, and bytes made visible."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.audit.detail_texts import isolated
from apikeys.debugger.cause_texts import WORDS
from apikeys.debugger.causes import Cause, Found
from apikeys.debugger.checks import Check, State
from apikeys.debugger.diagnosis import Diagnosis
from apikeys.policy.choices import Permission

SHOWN_BYTES = 4096
#: SECURITY: each is rendered for itself; thousands of them, in five places of the page, took longer than all else.
SHOWN_RUNS = 400
DUMPED_BYTES = 1024
ROW = 8
_RUN = re.compile(r"[!-\[\]-~]+|[^!-\[\]-~]+")

CHECKS: tuple[str | Promise, ...] = (
    _("The key header is there and well formed"),
    _("Key and account may be used"),
    _("The IP is allowed"),
    _("Mandatory parameters are there"),
    _("No parameter occurs twice"),
    _("recvWindow is in range"),
    _("The timestamp is fresh"),
    _("The signature fits"),
    _("The key has the permission"),
)
STATES: dict[State, tuple[str, str, str | Promise]] = {
    State.OK: ("ok", "check", _("passed")),
    State.FAILED: ("danger", "x", _("failed")),
    State.UNSURE: ("warn", "info", _("depends")),
    State.SKIPPED: ("", "dots", _("not checked")),
}
#: Causes that are mended on the key's page.
ON_KEY_PAGE = frozenset(
    {
        Cause.KEY_FROZEN,
        Cause.KEY_EXPIRED,
        Cause.ADDRESS,
        Cause.PERMISSION,
        Cause.KEY_DEGRADED,
        Cause.TRADE_LAPSED,
    }
)


@dataclass(frozen=True)
class Said:
    """A cause in words: ``title``, and in ``mend`` what to do."""

    title: str
    mend: str
    on_key_page: bool


@dataclass(frozen=True)
class Line:
    """A check in words, with its tone and icon."""

    title: str | Promise
    tone: str
    icon: str
    state: str | Promise
    is_bad: bool


@dataclass(frozen=True)
class Skew:
    """A clock's difference on a scale of 400: the accepted window, and the hand. Times in ms; s at the ends."""

    ms: int
    window_x: float
    window_width: float
    hand_x: float
    end_s: str
    in_window: bool

    @property
    def size(self) -> int:
        return abs(self.ms)


def said(found: Found) -> Said:
    title, mend = WORDS[found.cause]
    values = {name: isolated(visible(value)) for name, value in found.arguments}
    permission = dict(found.arguments).get("permission")
    if permission:
        values["permission"] = str(Permission(permission).label)
    return Said(str(title) % values, str(mend) % values, found.cause in ON_KEY_PAGE)


def line(check: Check) -> Line:
    tone, icon, word = STATES[check.state]
    bad = check.state in (State.FAILED, State.UNSURE)
    return Line(CHECKS[check.number - 1], tone, icon, word, bad)


def skew(diagnosis: Diagnosis) -> Skew | None:
    """The figure of the clock; ``None`` without a timestamp that can be read."""
    if diagnosis.skew_ms is None or diagnosis.recv_window_us is None:
        return None
    recv = diagnosis.recv_window_us / 1000
    end = max(2 * recv, 2000)
    at = 200 + 200 * max(-1.0, min(1.0, diagnosis.skew_ms / end))
    return Skew(
        ms=diagnosis.skew_ms,
        window_x=200 - 200 * recv / end,
        window_width=200 * (recv + 1000) / end,
        hand_x=min(at, 397),
        end_s=f"{end / 1000:g}",
        in_window=-recv <= diagnosis.skew_ms < 1000,
    )


def sent_at(diagnosis: Diagnosis) -> str:
    """The timestamp as a moment in UTC; "" if there is none, or it lies beyond the calendar."""
    if diagnosis.timestamp_us is None:
        return ""
    try:
        at = datetime.fromtimestamp(diagnosis.timestamp_us // 1000 / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return ""
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d} UTC"


def visible(text: str) -> str:
    """Characters that can't be seen, or that turn others around, as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def segments(payload: bytes, most: int | None = SHOWN_RUNS) -> list[tuple[bool, str]]:
    """The bytes as runs of text: (is a sign for what can't be seen, text). Cut after SHOWN_BYTES, and ``most`` runs."""
    runs = _RUN.finditer(payload[:SHOWN_BYTES].decode("latin-1"))
    return [
        (not run[0].isascii() or run[0][:1] == "\\" or run[0][:1] == " ", _signs(run[0]))
        for run in itertools.islice(runs, most)
    ]


def is_cut(payload: bytes) -> bool:
    """Whether `segments` leaves something out."""
    runs = _RUN.finditer(payload[:SHOWN_BYTES].decode("latin-1"))
    return len(payload) > SHOWN_BYTES or next(itertools.islice(runs, SHOWN_RUNS, None), None) is not None


def _signs(run: str) -> str:
    if run[:1] not in " \\" and run.isascii() and run.isprintable():
        return run
    named = {" ": "␣", "\n": "\\n\n", "\r": "\\r", "\t": "\\t", "\\": "\\"}
    return "".join(named.get(char) or f"\\x{ord(char):02X}" for char in run)


def differing(payload: bytes, other: bytes) -> tuple[list[tuple[str, list[tuple[bool, str]]]], ...]:
    """Both texts in (kind, segments): what they begin and end with alike, and what differs between the two."""
    shortest = min(len(payload), len(other))
    start = next((n for n in range(shortest) if payload[n] != other[n]), shortest)
    most = shortest - start
    end = next((n for n in range(most) if payload[-1 - n] != other[-1 - n]), most)
    return tuple(
        [
            ("same", segments(text[:start])),
            (kind, segments(text[start : len(text) - end])),
            ("same", segments(text[len(text) - end :])),
        ]
        for kind, text in (("ins", payload), ("del", other))
    )


def dump(payload: bytes) -> str:
    """Offset, bytes in hex, and their signs, ROW a line; DUMPED_BYTES at most."""
    return "\n".join(_dumped(payload[:DUMPED_BYTES]))


def _dumped(payload: bytes) -> Iterator[str]:
    for at in range(0, len(payload), ROW):
        row = payload[at : at + ROW]
        signs = "".join(chr(byte) if 0x21 <= byte < 0x7F else "␣" if byte == 0x20 else "." for byte in row)
        yield f"{at:04x}  {row.hex(' '):{ROW * 3 - 1}}  {signs}"
