"""Words for what audit events hold in their details, which are stored as codes and read in any language.

Apps add the words for the details of their own events.
"""

from collections.abc import Callable, Mapping
from ipaddress import ip_network
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from accounts.choices.events import SecurityEvent, event_of
from accounts.choices.registry import Registry
from accounts.models import AuditEvent
from hitobit_portal.i18n import free_text
from hitobit_portal.i18n.bidi import fill, isolated

#: What says one code of ``changes`` in the active language, by event. Filled by apps in `AppConfig.ready()`.
CHANGES: Registry[SecurityEvent, Callable[[str], str]] = Registry({})

#: Whether one code of ``changes`` takes a protection away, by event. Filled by apps in `AppConfig.ready()`.
WARNINGS: Registry[SecurityEvent, Callable[[str], bool]] = Registry({})


def tone_of(event: AuditEvent) -> str:
    """The tone of an event: its own, or the one of a warning if it took a protection away."""
    kind = event_of(event.event)
    warns = WARNINGS.get(kind)
    if warns is not None and any(map(warns, event.detail.get("changes", ()))):
        return "warn"
    return kind.look.tone


def login_text(detail: Mapping[str, Any]) -> str:
    """How a login began, if not with a password, and how it was completed; "" for other events."""
    first = _("with the Hitobit account") if detail.get("first") == "exchange" else ""
    parts = (first, method_text(detail.get("method", "")))
    return pgettext("list separator", ", ").join(filter(None, parts))


def method_text(value: str) -> str:
    """How a login was completed."""
    words = {
        "totp": _("by authenticator"),
        "sms": _("by SMS"),
        "recovery": _("by recovery code"),
        "enrolment": _("after enrolment"),
        "trusted": _("on a trusted device, without a code"),
    }
    return words.get(value, "")


def change_lines(event: AuditEvent) -> list[str]:
    """The changes that the event's details hold as codes, a line each."""
    describe = CHANGES.get(event_of(event.event), _plain_change)
    return [describe(code) for code in event.detail.get("changes", ())]


def _plain_change(code: str) -> str:
    return isolated(free_text.plain(code))


def is_network(text: str) -> bool:
    """Whether ``text`` is an IP address or a network, and nothing else."""
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return "%" not in text  # a zone (fe80::1%anything) is free text


def replaced_text(before: str, after: str) -> str:
    """What stands in another's place: a mobile number (masked)."""
    return fill(_("%(after)s instead of %(before)s"), before=before, after=after)
