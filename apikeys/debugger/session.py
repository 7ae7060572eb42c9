"""One look at a pasted request: the customer's keys, their secrets masked, the key that is meant, the diagnosis.

The page and the command both use this, so that they can't come to differ. What they add is where the text comes from,
what stands in for what was not given, and how the result is shown.

SECURITY: text goes through here in one order. It is masked (`masked`) before anything of it is kept. Then what is left
of it, and all that was read out of it, is searched again (`leaking`), and so is the result before it is shown
(`revealing`): each transformation on the way (quotes undone, escapes decoded, pieces joined, sorted or encoded) may
put a secret together that did not stand in the text before.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from accounts.models import User
from apikeys.actions import key_loader
from apikeys.client_api.views import now_ms
from apikeys.debugger import request_parser, secret_masking, syntax_checks
from apikeys.debugger.budget import Budget
from apikeys.debugger.checks import Situation
from apikeys.debugger.diagnosis import Diagnosis, explain
from apikeys.models import ApiKey
from apikeys.policy.choices import KeyState
from apikeys.verification.decision import is_key_id
from apikeys.verification.records import KeyRecord
from apikeys.verification.signing import Kind

#: Deleted keys that a request may still name or be signed with, beside one that it does name.
DELETED_KEYS = 10


@dataclass(frozen=True)
class Circumstances:
    """What is known beside the request: how it was sent. ``address_given`` is false if another one stands in for it."""

    address: str
    address_given: bool
    permission: str = ""
    at_ms: int | None = None


@dataclass(frozen=True)
class Looked:
    """What came of it; ``situation`` is what the request was held against."""

    situation: Situation = field(repr=False)
    diagnosis: Diagnosis = field(repr=False)


def ids_named_by(text: str, body: str = "") -> tuple[str, ...]:
    """The public ids that a request may mean by its key header: as it is, and without what came along with it."""
    try:
        return _named(request_parser.read(text, body))
    except request_parser.UnreadableError:
        return ()


def _named(request: request_parser.Pasted) -> tuple[str, ...]:
    sent = request.header("X-MBX-APIKEY") or ""
    return tuple(
        key_id for key_id in dict.fromkeys((sent, syntax_checks.bare_key(sent))) if is_key_id(key_id)
    )


def keys_of(owner: User, named: Collection[str] = ()) -> list[ApiKey]:
    """Those that a request may mean. ``named``: ids of keys that are among them even if they were deleted long ago."""
    deleted = ApiKey.objects.filter(owner=owner, state=KeyState.REVOKED).order_by("-revoked_at")
    keys = [*ApiKey.objects.live(owner), *deleted[:DELETED_KEYS]]
    known = {key.key_id for key in keys}
    missing = [key_id for key_id in named if key_id not in known]
    return [*keys, *(deleted.filter(key_id__in=missing) if missing else ())]


class DebuggerSession:
    """A customer's keys, newest first, the deleted ones last, and what proves possession of each."""

    def __init__(self, owner: User, named: Collection[str] = ()) -> None:
        self.budget = Budget()
        keys = keys_of(owner, named)
        self._records: dict[str, KeyRecord] = key_loader.load_explained(keys)
        self.keys = [key for key in keys if key.key_id in self._records]
        self._secrets = secret_masking.Secrets(
            (
                (key.pk, credential.material)
                for key in self.keys
                for credential in self._records[key.key_id].credentials
                if credential.kind is Kind.HMAC
            ),
            self.budget,
        )

    def masked(self, typed: Mapping[str, str]) -> tuple[dict[str, str], list[ApiKey]]:
        """``typed`` with a ``*`` for each character of a secret, and whose secrets there were."""
        found: set[object] = set()
        hidden = {}
        for name, text in typed.items():
            hidden[name], owners = self._secrets.hide(text)
            found |= owners
        return hidden, self._of(found)

    def leaking(self, typed: Iterable[str], request: request_parser.Pasted | None) -> list[ApiKey]:
        """The keys whose secrets stand in masked texts still, where they can't be masked letter by letter."""
        read = request.texts() if request is not None else []
        # Together and apart: a secret may be spread over two fields, and escapes may end where a text does.
        return self._found_in(typed) or self._found_in(read)

    def revealing(self, looked: Looked) -> list[ApiKey]:
        """The keys whose secrets the diagnosis put together."""
        diagnosis = looked.diagnosis
        payloads = [payload.decode("latin-1") for payload in (diagnosis.payload, diagnosis.signed or b"")]
        found = (*diagnosis.causes, *diagnosis.doubts, *diagnosis.hints)
        return self._found_in([*payloads, *(value for one in found for _name, value in one.arguments)])

    def _found_in(self, texts: Iterable[str]) -> list[ApiKey]:
        return self._of(self._secrets.found_in("\n".join(texts)))

    def _of(self, owners: Collection[object]) -> list[ApiKey]:
        return [key for key in self.keys if key.pk in owners]

    def meant(self, request: request_parser.Pasted, chosen: str = "") -> ApiKey | None:
        """The key that the request names if it is the customer's, else ``chosen`` (a public id), else the only one."""
        by_id = {key.key_id: key for key in self.keys}
        for key_id in (*_named(request), chosen):
            if key_id in by_id:
                return by_id[key_id]
        return self.keys[0] if len(self.keys) == 1 else None

    def look(
        self, request: request_parser.Pasted, key: ApiKey, circumstances: Circumstances, *, leaked: bool
    ) -> Looked:
        """The diagnosis of a request that is masked, and does not leak."""
        dated = request_parser.moment_ms(request.header("Date") or "")
        at_ms = circumstances.at_ms if circumstances.at_ms is not None else dated
        situation = Situation(
            record=self._records[key.key_id],
            others=tuple(
                (other.label, self._records[other.key_id]) for other in self.keys if other.pk != key.pk
            ),
            paused=key.state == KeyState.FROZEN,
            address=circumstances.address,
            address_given=circumstances.address_given,
            permission=circumstances.permission or syntax_checks.needed_permission(request),
            at_ms=now_ms() if at_ms is None else at_ms,
            at_given=at_ms is not None,
            leaked=leaked,
        )
        return Looked(situation, explain(request, situation, self.budget))
