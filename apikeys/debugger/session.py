"""Diagnose a pasted request for one customer: load their keys, mask their secrets, choose the key, run the diagnosis.

The debugger's page and `explain_request` both use this, so that they cannot differ. They add where the text comes from,
the defaults for what was not given, and the presentation.

SECURITY: text passes through here in a fixed order. It is masked (`mask`) before any of it is stored. Then the masked
text and all parsed parts are searched again (`find_unmasked`), and so is the result before it is shown
(`find_revealed`): each transformation in between (removing quotes, decoding escapes, joining, sorting or encoding
pieces) may produce a secret that the text did not contain in one piece.
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
from apikeys.models import ApiKey, Refusal
from apikeys.policy.choices import KeyState, Permission
from apikeys.usage.request_line import CUT
from apikeys.verification.decision import is_key_id
from apikeys.verification.records import KeyRecord
from apikeys.verification.signing import Kind
from hitobit_portal.http.client_ip import parse_address

#: Number of most recently deleted keys that are also tried, in addition to a deleted key that the request names.
DELETED_KEYS = 10


@dataclass(frozen=True)
class SendDetails:
    """How the request was sent. ``address_given`` is false if ``address`` is only a default."""

    address: str
    address_given: bool
    permission: str = ""
    at_ms: int | None = None


@dataclass(frozen=True)
class SessionResult:
    """The diagnosis, and the situation that it was made for."""

    situation: Situation = field(repr=False)
    diagnosis: Diagnosis = field(repr=False)


def named_key_ids(text: str, body: str = "") -> tuple[str, ...]:
    """Return the public key ids in the key header of a request: as sent, and without surrounding characters."""
    try:
        return _named(request_parser.parse(text, body))
    except request_parser.UnreadableError:
        return ()


def _named(request: request_parser.ParsedRequest) -> tuple[str, ...]:
    sent = request.header("X-MBX-APIKEY") or ""
    return tuple(
        key_id for key_id in dict.fromkeys((sent, syntax_checks.bare_key(sent))) if is_key_id(key_id)
    )


def keys_of(owner: User, named: Collection[str] = ()) -> list[ApiKey]:
    """Return the keys that a request may refer to, including keys with the ids ``named`` that were deleted earlier."""
    deleted = ApiKey.objects.filter(owner=owner, state=KeyState.REVOKED).order_by("-revoked_at")
    keys = [*ApiKey.objects.live(owner), *deleted[:DELETED_KEYS]]
    known = {key.key_id for key in keys}
    missing = [key_id for key_id in named if key_id not in known]
    return [*keys, *(deleted.filter(key_id__in=missing) if missing else ())]


def known_of(refusal: Refusal) -> dict[str, str]:
    """Return the values of the form that are known of a rejected request. Its parameters are not stored."""
    path = "/" if not refusal.path or CUT in refusal.path else refusal.path
    return {
        "key": str(refusal.key_id),
        "request": f"{refusal.method or 'GET'} {path}?\nX-MBX-APIKEY: {refusal.key.key_id}",
        "sent": str(round(refusal.at.timestamp() * 1000)),
        "address": refusal.address if parse_address(refusal.address) is not None else "",
        "permission": refusal.permission if refusal.permission in Permission.values else "",
    }


class DebuggerSession:
    """A customer's keys, newest first, deleted ones last, with their credentials."""

    def __init__(self, owner: User, named: Collection[str] = ()) -> None:
        self.budget = Budget()
        keys = keys_of(owner, named)
        self._records: dict[str, KeyRecord] = key_loader.load_for_debugger(keys)
        self.keys = [key for key in keys if key.key_id in self._records]
        self._masker = secret_masking.SecretMasker(
            (
                (key.pk, credential.material)
                for key in self.keys
                for credential in self._records[key.key_id].credentials
                if credential.kind is Kind.HMAC
            ),
            self.budget,
        )

    def mask(self, typed: Mapping[str, str]) -> tuple[dict[str, str], list[ApiKey]]:
        """Return ``typed`` with each character of a secret replaced by ``*``, and the keys of these secrets."""
        owners: set[object] = set()
        masked = {}
        for name, text in typed.items():
            masked[name], owners_of_text = self._masker.mask(text)
            owners |= owners_of_text
        return masked, self._of(owners)

    def find_unmasked(
        self, typed: Iterable[str], request: request_parser.ParsedRequest | None
    ) -> list[ApiKey]:
        """Return the keys whose secrets masked texts still contain in a form that cannot be masked letter by letter."""
        parsed = request.texts() if request is not None else []
        # Search the joined fields, then the joined parsed parts: a secret may be spread over two fields, and an escape
        # may end at the end of a field.
        return self._find_in(typed) or self._find_in(parsed)

    def find_revealed(self, result: SessionResult) -> list[ApiKey]:
        """Return the keys whose secrets the diagnosis contains."""
        diagnosis = result.diagnosis
        payloads = [payload.decode("latin-1") for payload in (diagnosis.payload, diagnosis.signed or b"")]
        causes = (*diagnosis.causes, *diagnosis.doubts, *diagnosis.hints)
        return self._find_in([*payloads, *(value for cause in causes for _name, value in cause.arguments)])

    def _find_in(self, texts: Iterable[str]) -> list[ApiKey]:
        return self._of(self._masker.find("\n".join(texts)))

    def _of(self, owners: Collection[object]) -> list[ApiKey]:
        return [key for key in self.keys if key.pk in owners]

    def choose_key(self, request: request_parser.ParsedRequest, chosen: str = "") -> ApiKey | None:
        """Return the key that the request names if it is the customer's, else ``chosen`` (a public id), else the only
        key, else None."""
        by_id = {key.key_id: key for key in self.keys}
        for key_id in (*_named(request), chosen):
            if key_id in by_id:
                return by_id[key_id]
        return self.keys[0] if len(self.keys) == 1 else None

    def diagnose(
        self, request: request_parser.ParsedRequest, key: ApiKey, details: SendDetails, *, has_secret: bool
    ) -> SessionResult:
        """Diagnose a request that is masked and in which `find_unmasked` finds no secret."""
        date_ms = request_parser.parse_time_ms(request.header("Date") or "")
        at_ms = details.at_ms if details.at_ms is not None else date_ms
        situation = Situation(
            record=self._records[key.key_id],
            others=tuple(
                (other.label, self._records[other.key_id]) for other in self.keys if other.pk != key.pk
            ),
            paused=key.state == KeyState.FROZEN,
            address=details.address,
            address_given=details.address_given,
            permission=details.permission or syntax_checks.needed_permission(request),
            at_ms=now_ms() if at_ms is None else at_ms,
            at_given=at_ms is not None,
            has_secret=has_secret,
        )
        return SessionResult(situation, explain(request, situation, self.budget))
