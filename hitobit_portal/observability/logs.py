"""Log formatters: JSON lines or plain lines, with the request's id and without secrets.

The portal itself logs only classes and ids. Redaction is the second line of defense, for what Django, granian and
drivers log: paths of one-time links, phone numbers in database errors, addresses with passwords.
"""

import json
import logging
import os
import re
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

#: Id of the request that this thread handles; "" outside of requests.
request_id: ContextVar[str] = ContextVar("request_id", default="")

#: Paths whose last segment is a secret: one-time links.
LINKS = re.compile(r"(/(?:n|signup/invited|settings/email/confirm)/)[^\s/?\"']+")
#: A URL up to its password, and a word, which may contain a URL.
_BEFORE_PASSWORD = re.compile(r"://[^\s:/@]*:")
_WORD = re.compile(r"\S+")
#: Redactions of any text: (pattern, replacement).
REDACTIONS = (
    (LINKS, r"\1(hidden)"),
    (re.compile(r"\bhb(?:gw|mg)_[\w-]+"), "(token)"),
    (re.compile(r"([?&](?:signature|token|code|password)=)[^\s&\"']+", re.IGNORECASE), r"\1(hidden)"),
    # A mobile number in the formats of people, forms and the database. Its last two digits tell customers apart.
    (re.compile(r"(?<![\w.])((?:\+|00)?98|0)9\d{7}(\d\d)(?![\w.])"), r"\1(phone)\2"),
)
#: Redactions of exceptions' messages, which may also repeat values: codes, secrets, seeds, keys.
EXCEPTION_REDACTIONS = (
    *REDACTIONS,
    (re.compile(r"[0-9\u06f0-\u06f9\u0660-\u0669]{5,}"), "(digits)"),
    (re.compile(r"(?<![\w./-])[A-Za-z0-9+/_=-]{16,}(?![\w.])"), "(value)"),
    (re.compile(r"(?<![A-Za-z0-9])(?:[A-Za-z0-9]{4,8}[- ]){2,}[A-Za-z0-9]{4,8}(?![A-Za-z0-9])"), "(value)"),
)


def redact(text: str) -> str:
    """Return ``text`` without one-time links, passwords in URLs, tokens, signatures and complete phone numbers."""
    text = _redact_passwords(text)
    for pattern, replacement in REDACTIONS:
        text = pattern.sub(replacement, text)
    return text


def _redact_passwords(text: str) -> str:
    """Replace the password in each ``://name:password@``.

    SECURITY: in two steps, each linear in the length of the text. A single expression was quadratic: an attacker's path
    of 64 KB, which Django logs, took two seconds.
    """
    if "://" not in text or "@" not in text:
        return text
    return _WORD.sub(lambda word: _redact_password(word[0]), text)


def _redact_password(word: str) -> str:
    *pieces, last = word.split("@")
    for at, piece in enumerate(pieces):
        before = _BEFORE_PASSWORD.search(piece)
        if before is not None and before.end() < len(piece):
            pieces[at] = f"{piece[: before.end()]}(hidden)"
    return "@".join([*pieces, last])


def describe(error: BaseException) -> str:
    """Return the class and the redacted message of an exception."""
    text = _redact_passwords(str(error)[:500])
    for pattern, replacement in EXCEPTION_REDACTIONS:
        text = pattern.sub(replacement, text)
    return f"{type(error).__name__}: {text}".removesuffix(": ")


def frames(error: BaseException) -> list[str]:
    """Return the frames of an exception and of its causes, outermost first, without lines of source."""
    lines: list[str] = []
    visited: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in visited:
        visited.add(id(current))
        places = [
            f"{frame.filename}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_tb(current.__traceback__)
        ]
        lines = [*places, *([describe(current)] if current is not error else []), *lines]
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return lines[-60:]


def _request_of(record: logging.LogRecord) -> str:
    # Django logs rejected requests after the middleware has returned; the record has the request.
    return request_id.get() or str(getattr(getattr(record, "request", None), "request_id", ""))


class JsonLines(logging.Formatter):
    """A JSON object a line: at, level, logger, message, process, and if known request, status, error, trace."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
            "process": os.getpid(),
        }
        if request := _request_of(record):
            line["request"] = request
        if status := getattr(record, "status_code", None):
            line["status"] = status
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            line |= {"error": describe(error), "trace": frames(error)}
        return json.dumps(line, ensure_ascii=False, default=str)


class PlainLines(logging.Formatter):
    """The same for people: one line, followed by the frames of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        request = _request_of(record)
        at = self.formatTime(record)
        line = f"{at} {record.levelname} {record.name} {redact(record.getMessage())}"
        # SECURITY: a line feed in a path must not start a forged log line.
        line = line.replace("\r", "\\r").replace("\n", "\\n") + (f" request={request}" if request else "")
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            line = "\n  ".join([line, *frames(error), describe(error)])
        return line


def server_options(form: str) -> list[str]:
    """Return granian's options for logging its own lines in the format ``form``."""
    return ["--log-config", str(Path(__file__).with_name("granian-logging.json"))] if form == "json" else []


FORMATTERS = {"json": JsonLines, "line": PlainLines}


def configuration(form: str, level: int | str) -> dict[str, Any]:
    """Return Django's LOGGING: everything goes to stderr, in the format ``json`` or ``line``."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": f"hitobit_portal.observability.logs.{FORMATTERS[form].__name__}"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # SECURITY: at DEBUG these write SQL parameters and form data into the log.
            "django.db.backends": {"level": "INFO"},
            "django.utils.autoreload": {"level": "INFO"},
            # SECURITY: they write URLs at INFO, and Kavenegar's API key is part of the URL.
            "httpx": {"level": "CRITICAL"},
            "httpcore": {"level": "CRITICAL"},
        },
    }
