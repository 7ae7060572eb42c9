"""System checks of the portal's own settings: each names what is unsafe and says what to do."""

from importlib import import_module
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from hitobit_portal.config import env


@register("portal")
def processes(**kwargs: Any) -> list[CheckMessage]:
    """Several processes need a shared cache and a database with row locks."""
    found: list[CheckMessage] = []
    if settings.PROCESSES < 1:
        found.append(Error("PORTAL_PROCESSES is less than 1.", id="portal.E001"))
    if settings.PROCESSES > 1 and not settings.REDIS_URL:
        # Measured: 4 processes with counters of their own let 80 of 200 requests through a limit of 5.
        hint = "Each process would count for itself. Set REDIS_URL, or PORTAL_PROCESSES=1."
        found.append(
            Error("PORTAL_PROCESSES is more than 1 and REDIS_URL is not set.", hint=hint, id="portal.E002")
        )
    if settings.PROCESSES > 1 and settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        hint = "Set DATABASE_URL to PostgreSQL, or PORTAL_PROCESSES=1."
        found.append(
            Error("PORTAL_PROCESSES is more than 1 and the database is SQLite.", hint=hint, id="portal.E003")
        )
    return found


@register("portal")
def gateways(**kwargs: Any) -> list[CheckMessage]:
    """What is counted in Valkey needs one."""
    shared = {"PORTAL_GATEWAY_LIMITS": settings.GATEWAY_LIMITS, "PORTAL_REPLAY_GUARD": settings.REPLAY_GUARD}
    return [
        Error(f"{name} is 'valkey' and REDIS_URL is not set.", id="portal.E009")
        for name, value in shared.items()
        if value == "valkey" and not settings.REDIS_URL
    ]


@register("portal")
def names(**kwargs: Any) -> list[CheckMessage]:
    """A variable that nothing reads is a typing error, and what it meant to secure is not secured."""
    hint = "Compare it with the table of settings in docs/operating.md."
    return [
        Error(f"{name} is not a setting of the portal.", hint=hint, id="portal.E004")
        for name in env.unknown_names()
    ]


@register("portal")
def audit_sink(**kwargs: Any) -> list[CheckMessage]:
    """Where it can never be written, nobody would miss it before they need it."""
    sink = settings.AUDIT_SINK
    if sink in ("", "stdout") or (Path(sink).is_absolute() and Path(sink).parent.is_dir()):
        return []
    hint = "Give 'stdout', or a whole path (/var/log/portal/audit.jsonl) in a directory that exists."
    return [Error("PORTAL_AUDIT_SINK names no file in an existing directory.", hint=hint, id="portal.E010")]


@register("portal")
def sms_modules(**kwargs: Any) -> list[CheckMessage]:
    return [
        Error(f"PORTAL_SMS_BACKENDS: {path} is not a module with send().", id="portal.E007")
        for path in settings.SMS_BACKENDS
        if not _has_send(path)
    ]


@register("portal")
def sms_keys(**kwargs: Any) -> list[CheckMessage]:
    """A provider without its key refuses every message; ``REQUIRED`` of its module names the settings."""
    return [
        Error(f"PORTAL_SMS_BACKENDS has {path}, and PORTAL_{name} is not set.", id="portal.E008")
        for path in settings.SMS_BACKENDS
        if _has_send(path)
        for name in getattr(import_module(path), "REQUIRED", ())
        if not getattr(settings, name, "")
    ]


@register("portal", deploy=True)
def sms(**kwargs: Any) -> list[CheckMessage]:
    """Codes shown on a terminal are for the demo."""
    local = [path for path in settings.SMS_BACKENDS if path in ("accounts.sms.console", "accounts.sms.file")]
    if local and not settings.DEMO:
        hint = "Give the dotted path of a module with send(phone, text, code, purpose)."
        return [
            Error(
                f"PORTAL_SMS_BACKENDS has {', '.join(local)}, which shows codes to operators.",
                hint=hint,
                id="portal.E005",
            )
        ]
    if not settings.SMS_BACKENDS:
        return [
            Error("PORTAL_SMS_BACKENDS is empty: nobody can log in by SMS or create a key.", id="portal.E006")
        ]
    return []


def _has_send(path: str) -> bool:
    try:
        return callable(getattr(import_module(path), "send", None))
    except ImportError:
        return False


@register("portal", deploy=True)
def demo(**kwargs: Any) -> list[CheckMessage]:
    if settings.DEMO:
        return [
            Warning(
                "PORTAL_DEMO is on: codes are shown on a page, and the demo customer's password is in a file.",
                id="portal.W001",
            )
        ]
    return []
