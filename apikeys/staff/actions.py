"""The two actions of staff on keys: pause, or delete permanently. Neither adds power."""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apikeys.policy.choices import KeyState
from apikeys.policy.events import KeyEvent
from apikeys.policy.rights import KeyRight


@dataclass(frozen=True)
class Act:
    """An action. ``from_states``: the states in which a key can be changed by it."""

    name: str
    right: KeyRight
    title: Promise
    effect: Promise
    icon: str
    state: KeyState
    event: KeyEvent
    from_states: frozenset[str]


ACTS = {
    act.name: act
    for act in (
        Act(
            "freeze", KeyRight.FREEZE, _("Pause"),
            _("Every request with these keys is refused at once. The customers are notified, and can "
                "resume the keys with both codes."),
            "pause", KeyState.FROZEN, KeyEvent.FROZEN, frozenset({KeyState.ACTIVE}),
        ),
        Act(
            "revoke", KeyRight.REVOKE, _("Delete for good"),
            _("These keys never work again, and nobody can restore them. The customers are notified."),
            "trash", KeyState.REVOKED, KeyEvent.REVOKED, frozenset({KeyState.ACTIVE, KeyState.FROZEN}),
        ),
    )
}  # fmt: skip
