"""The log: an object a line (or a line for people), with the request's id, and nothing in it that must stay secret.

What the portal logs itself is classes and ids; this stands behind that, for what Django, granian and drivers write:
paths of one-time links, numbers of phones in messages of databases, addresses with passwords in them.
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

#: Of the request that this thread works for; "" outside of one.
request_id: ContextVar[str] = ContextVar("request_id", default="")

#: Addresses whose last part is a secret: one-time links.
LINKS = re.compile(r"(/(?:n|signup/invited|settings/email/confirm)/)[^\s/?\"']+")
#: The beginning of an address up to its password, and the word that an address stands in.
_BEFORE_PASSWORD = re.compile(r"://[^\s:/@]*:")
_WORD = re.compile(r"\S+")
#: What stands in any text: (what it looks like, what is written instead).
ANYWHERE = (
    (LINKS, r"\1(hidden)"),
    (re.compile(r"\bhbgw_[\w-]+"), "(token)"),
    (re.compile(r"([?&](?:signature|token|code|password)=)[^\s&\"']+", re.IGNORECASE), r"\1(hidden)"),
    # A mobile number as people, forms and the database write it; its last two digits tell a customer from another.
    (re.compile(r"(?<![\w.])((?:\+|00)?98|0)9\d{7}(\d\d)(?![\w.])"), r"\1(phone)\2"),
)
#: What may stand in the message of an exception besides, which repeats values: codes, secrets, seeds, keys.
IN_EXCEPTIONS = (
    *ANYWHERE,
    (re.compile(r"[0-9\u06f0-\u06f9\u0660-\u0669]{5,}"), "(digits)"),
    (re.compile(r"(?<![\w./-])[A-Za-z0-9+/_=-]{16,}(?![\w.])"), "(value)"),
    (re.compile(r"(?<![A-Za-z0-9])(?:[A-Za-z0-9]{4,8}[- ]){2,}[A-Za-z0-9]{4,8}(?![A-Za-z0-9])"), "(value)"),
)


def hidden(text: str) -> str:
    """``text`` without links, passwords in addresses, tokens, signatures and whole numbers of phones."""
    text = _without_passwords(text)
    for pattern, instead in ANYWHERE:
        text = pattern.sub(instead, text)
    return text


def _without_passwords(text: str) -> str:
    """Of each ``://name:password@`` the password hidden.

    SECURITY: in two steps, each of which goes through the text once. As one expression it took the square of a path's
    length, and a stranger's path of 64 KB, which Django writes into the log, took two seconds.
    """
    if "://" not in text or "@" not in text:
        return text
    return _WORD.sub(lambda word: _password_hidden(word[0]), text)


def _password_hidden(word: str) -> str:
    *pieces, last = word.split("@")
    for at, piece in enumerate(pieces):
        before = _BEFORE_PASSWORD.search(piece)
        if before is not None and before.end() < len(piece):
            pieces[at] = f"{piece[: before.end()]}(hidden)"
    return "@".join([*pieces, last])


def told(error: BaseException) -> str:
    """An exception's class and message, the latter without what looks like a value."""
    text = _without_passwords(str(error)[:500])
    for pattern, instead in IN_EXCEPTIONS:
        text = pattern.sub(instead, text)
    return f"{type(error).__name__}: {text}".removesuffix(": ")


def frames(error: BaseException) -> list[str]:
    """Where it was raised, outermost first, and the same of what caused it: places only, no lines of source."""
    found: list[str] = []
    known: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in known:
        known.add(id(one))
        places = [
            f"{frame.filename}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_tb(one.__traceback__)
        ]
        found = [*places, *([told(one)] if one is not error else []), *found]
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return found[-60:]


def _request_of(record: logging.LogRecord) -> str:
    # Django logs refused requests after the middleware is through; the request itself is with the record.
    return request_id.get() or str(getattr(getattr(record, "request", None), "request_id", ""))


class JsonLines(logging.Formatter):
    """One object a line: at, level, logger, message, process, and where there are any request, status, error, trace."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": hidden(record.getMessage()),
            "process": os.getpid(),
        }
        if request := _request_of(record):
            line["request"] = request
        if status := getattr(record, "status_code", None):
            line["status"] = status
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            line |= {"error": told(error), "trace": frames(error)}
        return json.dumps(line, ensure_ascii=False, default=str)


class PlainLines(logging.Formatter):
    """The same for people: a line, and below it the places of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        request = _request_of(record)
        at = self.formatTime(record)
        line = f"{at} {record.levelname} {record.name} {hidden(record.getMessage())}"
        # SECURITY: a line feed in a path must not begin a line that somebody else seems to have written.
        line = line.replace("\r", "\\r").replace("\n", "\\n") + (f" request={request}" if request else "")
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            line = "\n  ".join([line, *frames(error), told(error)])
        return line


def server_options(form: str) -> list[str]:
    """Granian's arguments, with which its own lines take the form of all others."""
    return ["--log-config", str(Path(__file__).with_name("granian-logging.json"))] if form == "json" else []


FORMATTERS = {"json": JsonLines, "line": PlainLines}


def configuration(form: str, level: int | str) -> dict[str, Any]:
    """Django's LOGGING: everything to stderr, in the form ``json`` or ``line``."""
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
