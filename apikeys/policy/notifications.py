"""Which events of keys are told to the owner, which of their SMS may wait, and what the notices say of a key."""

from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.choices.events import SecurityEvent
from accounts.models import AuditEvent
from accounts.notifications import policy, texts
from accounts.notifications.texts import NoticeWords
from apikeys.policy.events import KeyEvent
from hitobit_portal.i18n.jalali import date_local, digits

#: Told whatever the owner prefers: each may be the first sign of a theft.
MANDATORY = frozenset(
    {
        KeyEvent.CREATED,
        KeyEvent.CHANGED,
        KeyEvent.REVOKED,
        KeyEvent.ROTATED,
        KeyEvent.CREDENTIAL_ENDED,
        KeyEvent.THAWED,
        KeyEvent.RENEWED,
        KeyEvent.RESCUE_ASKED,
        KeyEvent.EXPIRES_SOON,
        KeyEvent.TRADE_ENDS_SOON,
    }
)
#: Told when staff did it: the owner would look for the fault in their own program.
OF_STAFF = frozenset({KeyEvent.FROZEN})
#: What a stolen session brings about by the dozen.
HELD_BACK = frozenset(
    {
        KeyEvent.CHANGED,
        KeyEvent.REVOKED,
        KeyEvent.FROZEN,
        KeyEvent.EXPIRES_SOON,
        KeyEvent.TRADE_ENDS_SOON,
    }
)
#: Their details hold the date and the days that are left.
ENDS = frozenset({KeyEvent.EXPIRES_SOON, KeyEvent.TRADE_ENDS_SOON})
#: Codes of changes (`apikeys.policy.detail_texts.change_text`) that add power by themselves.
ADDS_POWER = frozenset({"+read", "+trade", "+withdraw", "ip:unrestricted", "trade:lasting"})


def adds_power(event: AuditEvent) -> bool:
    """Return whether the event is about a change that may add power to a key; its SMS never waits."""
    changes = event.detail.get("changes", ())
    # An expiry that moved may add power: which way it moved is not looked at.
    return any(
        code in ADDS_POWER or code.startswith("expires:") or _is_added_network(code, changes)
        for code in changes
    )


def _is_added_network(code: str, changes: list[str]) -> bool:
    # With "ip:trusted" beside it, networks are what is left of "from everywhere".
    return code.startswith("+") and "ip:trusted" not in changes


def _end(event: AuditEvent) -> list[tuple[str, str]]:
    """When the key, or trading with it, ends."""
    left = event.detail["days"]
    days = ngettext("in %(n)s day", "in %(n)s days", left) % {"n": digits(left)}
    when = date_local(datetime.fromisoformat(event.detail["date"]))
    name = _("Expires") if event.event == KeyEvent.EXPIRES_SOON.value else _("Trading ends")
    return [(name, f"{when} ({days})")]


_LABEL, _LABEL_IN_SMS = gettext_lazy("Key"), gettext_lazy("Key: “%(name)s”")
_OF_A_KEY = NoticeWords(_LABEL, _LABEL_IN_SMS)
_OF_AN_END = NoticeWords(
    _LABEL, _LABEL_IN_SMS, ask=gettext_lazy("Not your key? Freeze the account:"), dates=_end
)
WORDS: dict[SecurityEvent, NoticeWords] = {
    event: _OF_AN_END if event in ENDS else _OF_A_KEY for event in MANDATORY | OF_STAFF
}


def register() -> None:
    """Add the rules and the words to those of notices. Called by `ApiKeysConfig.ready()`."""
    policy.register(mandatory=MANDATORY, of_staff=OF_STAFF, held_back=HELD_BACK, is_urgent=adds_power)
    texts.WORDS.register(WORDS)
