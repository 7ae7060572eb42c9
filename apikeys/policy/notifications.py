"""Notification rules for key events: which are sent to the owner, which SMS may be held back, and their texts."""

from datetime import datetime

from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.choices.events import SecurityEvent
from accounts.models import AuditEvent
from accounts.notifications import policy, texts
from accounts.notifications.texts import NoticeWords
from apikeys.policy.events import KeyEvent
from hitobit_portal.i18n.bidi import fill
from hitobit_portal.i18n.jalali import date_local, digits

#: Sent regardless of the owner's preferences: each may be the first sign of a theft.
MANDATORY = frozenset(
    {
        KeyEvent.CREATED,
        KeyEvent.CHANGED,
        KeyEvent.REVOKED,
        KeyEvent.ROTATED,
        KeyEvent.CREDENTIAL_ENDED,
        KeyEvent.THAWED,
        KeyEvent.RENEWED,
        KeyEvent.ADDRESS_REQUESTED,
        KeyEvent.REQUESTED,
        KeyEvent.THAW_REQUESTED,
        KeyEvent.NEW_NETWORK,
        KeyEvent.EXPIRES_SOON,
        KeyEvent.TRADE_ENDS_SOON,
    }
)
#: Sent if staff caused the event: the owner would search for the cause in their own program.
OF_STAFF = frozenset({KeyEvent.FROZEN})
#: Events that an attacker with a stolen session, or a stolen token of the back office, can cause in large numbers.
HELD_BACK = frozenset(
    {
        KeyEvent.CHANGED,
        KeyEvent.REVOKED,
        KeyEvent.FROZEN,
        KeyEvent.REQUESTED,
        KeyEvent.THAW_REQUESTED,
        KeyEvent.EXPIRES_SOON,
        KeyEvent.TRADE_ENDS_SOON,
    }
)
#: The details of these events have the date and the number of days left.
ENDS = frozenset({KeyEvent.EXPIRES_SOON, KeyEvent.TRADE_ENDS_SOON})
#: Change codes (`apikeys.policy.detail_texts.change_text`) that always add power.
ADDS_POWER = frozenset({"+read", "+trade", "+withdraw", "ip:unrestricted", "trade:lasting"})


def adds_power(event: AuditEvent) -> bool:
    """Return whether the event is a change that may add power to a key. Its SMS is never held back."""
    # What the exchange requests is no change before its customer confirms it.
    changes = [] if event.event == KeyEvent.REQUESTED.value else event.detail.get("changes", [])
    # A changed expiry may add power; whether it is earlier or later is not checked.
    return any(
        code in ADDS_POWER or code.startswith("expires:") or _is_added_network(code, changes)
        for code in changes
    )


def _is_added_network(code: str, changes: list[str]) -> bool:
    # Together with "ip:trusted", new networks restrict a key that was unrestricted.
    return code.startswith("+") and "ip:trusted" not in changes


def _end(event: AuditEvent) -> list[tuple[str, str]]:
    """Return the row with the date on which the key, or its trade permission, ends."""
    left = event.detail["days"]
    days = fill(ngettext("in %(n)s day", "in %(n)s days", left), n=digits(left))
    when = date_local(datetime.fromisoformat(event.detail["date"]))
    name = _("Expires") if event.event == KeyEvent.EXPIRES_SOON.value else _("Trading ends")
    return [(name, f"{when} ({days})")]


def _approval_link(event: AuditEvent) -> list[tuple[str, str]]:
    """Return the row that says how to approve the new address: a page behind the login, which takes both codes."""
    if "approval" not in event.detail:  # recorded by the previous version
        return []
    path = reverse("key_rescue_open", args=[event.detail["approval"]])
    return [(_("Yours? Log in and approve it with both codes"), f"{settings.BASE_URL}{path}")]


def _request_link(event: AuditEvent) -> list[tuple[str, str]]:
    """Return the row with the page of the request, which shows all of it and takes both codes."""
    if not event.target.isdecimal():
        return []
    path = reverse("key_request", args=[event.target])
    return [(_("Log in to review it"), f"{settings.BASE_URL}{path}")]


def _thaw_link(_event: AuditEvent) -> list[tuple[str, str]]:
    return [
        (
            _("Agree? Log in and enter both codes"),
            f"{settings.BASE_URL}{reverse('thaw')}",
        )
    ]


_LABEL, _LABEL_IN_SMS = gettext_lazy("Key"), gettext_lazy("Key: “%(name)s”")
_INSTEAD = gettext_lazy("Suspicious? Freeze the account:")
_OF_A_KEY = NoticeWords(_LABEL, _LABEL_IN_SMS)
_OF_AN_END = NoticeWords(
    _LABEL, _LABEL_IN_SMS, ask=gettext_lazy("Not your key? Freeze the account:"), dates=_end
)
WORDS: dict[SecurityEvent, NoticeWords] = {
    **{event: _OF_AN_END if event in ENDS else _OF_A_KEY for event in MANDATORY | OF_STAFF},
    KeyEvent.NEW_NETWORK: NoticeWords(
        _LABEL, _LABEL_IN_SMS, ask=gettext_lazy("Not your program? Freeze the account:")
    ),
    KeyEvent.REQUESTED: NoticeWords(_LABEL, _LABEL_IN_SMS, ask=_INSTEAD, dates=_request_link),
    KeyEvent.THAW_REQUESTED: NoticeWords(
        _LABEL,
        _LABEL_IN_SMS,
        ask=gettext_lazy("If not, do nothing. To freeze it again:"),
        dates=_thaw_link,
    ),
    KeyEvent.ADDRESS_REQUESTED: NoticeWords(_LABEL, _LABEL_IN_SMS, dates=_approval_link, changes_first=True),
}


def register() -> None:
    """Register the rules and texts with `accounts.notifications`. Called by `ApiKeysConfig.ready()`."""
    policy.register(
        mandatory=MANDATORY, of_staff=OF_STAFF, held_back=HELD_BACK, bulk=ENDS, is_urgent=adds_power
    )
    texts.WORDS.register(WORDS)
