"""System checks of settings that depend on each other, on files, or on modules: each says what to do.

What can be seen from one variable is checked where it is declared (`declarations`), before Django starts.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from hitobit_portal.config import declarations as declared
from hitobit_portal.config import env
from hitobit_portal.observability import traces


@register("portal")
def processes(**kwargs: Any) -> list[CheckMessage]:
    """Several processes need a shared cache and a database with row locks."""
    errors: list[CheckMessage] = []
    if settings.PROCESSES > 1 and not settings.REDIS_URL:
        # Measured: 4 processes with counters of their own let 80 of 200 requests through a limit of 5.
        hint = f"Each process would count for itself. Set {declared.REDIS_URL}, or {declared.PROCESSES}=1."
        message = f"{declared.PROCESSES} is more than 1 and {declared.REDIS_URL} is not set."
        errors.append(Error(message, hint=hint, id="portal.E002"))
    if settings.PROCESSES > 1 and settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        hint = f"Set {declared.DATABASE_URL} to PostgreSQL, or {declared.PROCESSES}=1."
        message = f"{declared.PROCESSES} is more than 1 and the database is SQLite."
        errors.append(Error(message, hint=hint, id="portal.E003"))
    return errors


@register("portal")
def gateways(**kwargs: Any) -> list[CheckMessage]:
    """Counters in Valkey need its address."""
    shared = [
        (declared.GATEWAY_LIMITS, settings.GATEWAY_LIMITS),
        (declared.REPLAY_GUARD, settings.REPLAY_GUARD),
    ]
    return [
        Error(f"{setting} is 'valkey' and {declared.REDIS_URL} is not set.", id="portal.E009")
        for setting, value in shared
        if value == "valkey" and not settings.REDIS_URL
    ]


@register("portal")
def names(**kwargs: Any) -> list[CheckMessage]:
    """A variable that is not declared is a typing error: what it should secure is not secured."""
    hint = "Compare it with the table of settings in docs/operating.md."
    return [
        Error(f"{name} is not a setting of the portal.", hint=hint, id="portal.E004")
        for name in env.unknown_names(declared.NAMES)
    ]


@register("portal")
def audit_sink(**kwargs: Any) -> list[CheckMessage]:
    """A sink that can never be written would be noticed only when somebody needs it."""
    sink = settings.AUDIT_SINK
    if sink in ("", "stdout") or (Path(sink).is_absolute() and Path(sink).parent.is_dir()):
        return []
    hint = "Set 'stdout', or an absolute path (/var/log/portal/audit.jsonl) in a directory that exists."
    message = f"{declared.AUDIT_SINK} is not a file in an existing directory."
    return [Error(message, hint=hint, id="portal.E010")]


@register("portal")
def packages_for_traces(**kwargs: Any) -> list[CheckMessage]:
    if not settings.OTEL_EXPORTER_OTLP_ENDPOINT or traces.has_packages():
        return []
    hint = "pip install --require-hashes -r requirements-otel.txt, or remove the setting."
    return [
        Error(
            f"{declared.OTEL_EXPORTER_OTLP_ENDPOINT} is set and its packages are not installed.",
            hint=hint,
            id="portal.E011",
        )
    ]


@register("portal")
def sms_modules(**kwargs: Any) -> list[CheckMessage]:
    return [
        Error(f"{declared.SMS_BACKENDS}: {path} is not a module with send().", id="portal.E007")
        for path in settings.SMS_BACKENDS
        if not _has_send(path)
    ]


@register("portal")
def sms_keys(**kwargs: Any) -> list[CheckMessage]:
    """A provider rejects every message that comes without its key; ``REQUIRED`` of its module lists the settings."""
    return [
        Error(
            f"{declared.SMS_BACKENDS} has {path}, and {getattr(declared, name, f'PORTAL_{name}')} is not set.",
            id="portal.E008",
        )
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
        hint = "Set the dotted path of a module with send(phone, text, code, purpose)."
        message = f"{declared.SMS_BACKENDS} has {', '.join(local)}, which shows codes to operators."
        return [Error(message, hint=hint, id="portal.E005")]
    if not settings.SMS_BACKENDS:
        message = f"{declared.SMS_BACKENDS} is empty: nobody can log in by SMS or create a key."
        return [Error(message, id="portal.E006")]
    return []


def _has_send(path: str) -> bool:
    try:
        return callable(getattr(import_module(path), "send", None))
    except ImportError:
        return False


@register("portal", deploy=True)
def demo(**kwargs: Any) -> list[CheckMessage]:
    """The demo is not for deployment."""
    if not settings.DEMO:
        return []
    message = (
        f"{declared.DEMO} is on: codes are shown on a page, and the demo customer's password is in a file."
    )
    return [Warning(message, id="portal.W001")]
