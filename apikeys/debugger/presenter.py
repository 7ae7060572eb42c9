"""Prepare a diagnosis for the page: texts, the chart of the clock, and visible bytes."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apikeys.debugger.cause_texts import CAUSE_TEXTS
from apikeys.debugger.causes import Cause, DetectedCause
from apikeys.debugger.checks import Check, CheckState
from apikeys.debugger.diagnosis import Diagnosis
from apikeys.policy.choices import Permission
from hitobit_portal.i18n.bidi import fill

SHOWN_BYTES = 4096
#: SECURITY: each run is rendered separately; thousands of them in five places of the page took more time than all else.
SHOWN_RUNS = 400
DUMPED_BYTES = 1024
ROW = 8
_RUN = re.compile(r"[!-\[\]-~]+|[^!-\[\]-~]+")

CHECKS: tuple[str | Promise, ...] = (
    _("The key header is present and well formed"),
    _("The key and the account can be used"),
    _("The IP is allowed"),
    _("Mandatory parameters are present"),
    _("No parameter occurs twice"),
    _("recvWindow is in range"),
    _("The timestamp is fresh"),
    _("The signature matches"),
    _("The key has the permission"),
)
STATES: dict[CheckState, tuple[str, str, str | Promise]] = {
    CheckState.OK: ("ok", "check", _("passed")),
    CheckState.FAILED: ("danger", "x", _("failed")),
    CheckState.UNSURE: ("warn", "info", _("depends")),
    CheckState.SKIPPED: ("", "dots", _("not checked")),
}
#: Causes that are fixed on the key's page.
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
class CauseText:
    """The text of a cause; ``fix``: what to do."""

    title: str
    fix: str
    on_key_page: bool


@dataclass(frozen=True)
class CheckLine:
    """The text of a check with its tone and icon."""

    title: str | Promise
    tone: str
    icon: str
    state: str | Promise
    is_bad: bool


@dataclass(frozen=True)
class Skew:
    """The chart of a clock skew, 400 units wide: the accepted window and the hand. ``ms`` in ms, ``end_s`` in s."""

    ms: int
    window_x: float
    window_width: float
    hand_x: float
    end_s: str
    in_window: bool

    @property
    def size(self) -> int:
        return abs(self.ms)


def cause_text(cause: DetectedCause) -> CauseText:
    title, fix = CAUSE_TEXTS[cause.cause]
    values = {name: visible(value) for name, value in cause.arguments}
    permission = dict(cause.arguments).get("permission")
    if permission:
        values["permission"] = str(Permission(permission).label)
    return CauseText(fill(title, **values), fill(fix, **values), cause.cause in ON_KEY_PAGE)


def check_line(check: Check) -> CheckLine:
    tone, icon, word = STATES[check.state]
    bad = check.state in (CheckState.FAILED, CheckState.UNSURE)
    return CheckLine(CHECKS[check.number - 1], tone, icon, word, bad)


def skew(diagnosis: Diagnosis) -> Skew | None:
    """Return the chart of the clock skew; ``None`` without a readable timestamp."""
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
    """Return the timestamp as UTC text; "" if there is none or it is outside the range of datetime."""
    if diagnosis.timestamp_us is None:
        return ""
    try:
        at = datetime.fromtimestamp(diagnosis.timestamp_us // 1000 / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return ""
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d} UTC"


def visible(text: str) -> str:
    """Replace invisible characters and direction marks by escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def segments(payload: bytes, most: int | None = SHOWN_RUNS) -> list[tuple[bool, str]]:
    """Return the bytes as runs: (whether it is a sign for an invisible byte, text). Cut at SHOWN_BYTES and ``most``
    runs."""
    runs = _RUN.finditer(payload[:SHOWN_BYTES].decode("latin-1"))
    return [
        (not run[0].isascii() or run[0][:1] == "\\" or run[0][:1] == " ", _signs(run[0]))
        for run in itertools.islice(runs, most)
    ]


def is_cut(payload: bytes) -> bool:
    """Return whether `segments` cuts the payload."""
    runs = _RUN.finditer(payload[:SHOWN_BYTES].decode("latin-1"))
    return len(payload) > SHOWN_BYTES or next(itertools.islice(runs, SHOWN_RUNS, None), None) is not None


def _signs(run: str) -> str:
    if run[:1] not in " \\" and run.isascii() and run.isprintable():
        return run
    named = {" ": "␣", "\n": "\\n\n", "\r": "\\r", "\t": "\\t", "\\": "\\"}
    return "".join(named.get(char) or f"\\x{ord(char):02X}" for char in run)


def differing(payload: bytes, other: bytes) -> tuple[list[tuple[str, list[tuple[bool, str]]]], ...]:
    """Return both texts as (kind, segments): the common start, the difference, and the common end."""
    shorter = min(len(payload), len(other))
    start = next((n for n in range(shorter) if payload[n] != other[n]), shorter)
    most = shorter - start
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
    """Return a hex dump with offset, bytes and signs, ROW bytes per line, at most DUMPED_BYTES."""
    return "\n".join(_dumped(payload[:DUMPED_BYTES]))


def _dumped(payload: bytes) -> Iterator[str]:
    for at in range(0, len(payload), ROW):
        row = payload[at : at + ROW]
        signs = "".join(chr(byte) if 0x21 <= byte < 0x7F else "␣" if byte == 0x20 else "." for byte in row)
        yield f"{at:04x}  {row.hex(' '):{ROW * 3 - 1}}  {signs}"
