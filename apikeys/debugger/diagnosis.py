"""Why a signed request was refused: the nine checks of the contract one by one, and the named causes. Pure.

Nothing stops at the first failure, as the gateway does: whoever mends a request wants to hear of all that is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from apikeys.debugger import checks as debugger_checks
from apikeys.debugger import search, signature_candidates, syntax_checks
from apikeys.debugger.budget import Budget
from apikeys.debugger.causes import Cause, Found, found
from apikeys.debugger.checks import Check, Situation, State
from apikeys.debugger.payload_candidates import Parts, name_of
from apikeys.debugger.request_parser import Pasted
from apikeys.verification import signing
from apikeys.verification.decision import Decision, KeyRecord, decide
from apikeys.verification.signing import Kind


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Nine checks, the causes of what failed (the first is the headline), and the answer that the client gets.

    ``payload`` is what counts, ``signed`` what the client signed instead, if that was found out.
    """

    payload: bytes = field(repr=False)
    signed: bytes | None = field(repr=False)
    checks: tuple[Check, ...]
    causes: tuple[Found, ...]
    doubts: tuple[Found, ...]
    hints: tuple[Found, ...]
    answer: Decision
    timestamp_us: int | None
    recv_window_us: int | None
    skew_ms: int | None

    @property
    def is_right(self) -> bool:
        return not self.causes


def explain(request: Pasted, situation: Situation, budget: Budget | None = None) -> Diagnosis:
    """Diagnose one request of the customer's own, with no more work than ``budget`` has left."""
    parts = Parts.of(request.query, request.body)
    parsed = _parsed(request)
    right = parsed if isinstance(parsed, signing.SignedRequest) else None
    first = [
        _key(request, situation),
        debugger_checks.key_standing(situation),
        debugger_checks.address(situation),
    ]
    if first[0].state is State.OK and request.header("X-MBX-APIKEY") != situation.record.key:
        cause = syntax_checks.key_header(request, situation.record.key, situation.leaked)
        first[1] = Check(2, State.FAILED, (cause,) if cause else ())
    signature, signed = _signature(request, situation, right, parts, budget or Budget())
    checks = (
        *first,
        *_parameters(request, parsed),
        debugger_checks.fresh(situation, right),
        signature,
        debugger_checks.permission(situation),
    )
    failed = [cause for check in checks if check.state is State.FAILED for cause in check.causes]
    text = syntax_checks.text_causes(request)
    if not any(check.state is State.FAILED and check.number >= 4 for check in checks):
        text = []
    return Diagnosis(
        payload=parts.payload,
        signed=signed,
        checks=checks,
        causes=tuple(dict.fromkeys((*text, *failed))),
        doubts=tuple(c for check in checks if check.state is State.UNSURE for c in check.causes),
        hints=tuple(syntax_checks.hints(request)),
        answer=_answer(request, situation, checks, right),
        timestamp_us=right.timestamp_us if right else None,
        recv_window_us=right.recv_window_us if right else None,
        skew_ms=right.timestamp_us // 1000 - situation.at_ms if right else None,
    )


def _parsed(request: Pasted) -> signing.SignedRequest | signing.ContractError:
    try:
        return signing.parse(request.query, request.body)
    except signing.ContractError as error:
        return error


def _key(request: Pasted, situation: Situation) -> Check:
    cause = syntax_checks.key_header(request, situation.record.key, situation.leaked)
    if cause is None or cause.cause in (Cause.KEY_UNKNOWN, Cause.KEY_CASE):
        return Check(1, State.OK)
    return Check(1, State.FAILED, (cause,))


def _parameters(
    request: Pasted, parsed: signing.SignedRequest | signing.ContractError
) -> tuple[Check, Check, Check]:
    """Checks 4 to 6, of which the first that fails hides the others."""
    failed = 7
    if isinstance(parsed, signing.ContractError):
        order = (signing.Refusal.PARAMETER_MISSING, signing.Refusal.PARAMETER_DUPLICATE)
        failed = 4 + order.index(parsed.refusal) if parsed.refusal in order else 6
    causes = (syntax_checks.parameters(request, parsed),) if isinstance(parsed, signing.ContractError) else ()
    four, five, six = (
        Check(n, State.OK if n < failed else State.SKIPPED) if n != failed else Check(n, State.FAILED, causes)
        for n in (4, 5, 6)
    )
    return four, five, six


def _signature(
    request: Pasted,
    situation: Situation,
    right: signing.SignedRequest | None,
    parts: Parts,
    budget: Budget,
) -> tuple[Check, bytes | None]:
    """Check 8, also of a request that an earlier check refused; and what the client signed instead."""
    sent = right.signature if right else _signature_of(request)
    if not sent:
        return Check(8, State.SKIPPED), None
    ways, others = _ways(request, situation, sent)
    met = search.find(request, parts, ways, others, budget)
    foreign = syntax_checks.foreign_bytes(request)
    causes = (foreign,) if foreign else ()
    if met is None:
        unknown = _shape(situation.record, sent) or found(Cause.SIGNATURE_UNKNOWN)
        return Check(8, State.FAILED, (*causes, unknown)), None
    causes = (*causes, *met.causes)
    if not causes:
        return Check(8, State.OK), None
    return Check(8, State.FAILED, causes), met.signed if met.signed != parts.payload else None


def _signature_of(request: Pasted) -> bytes:
    for piece in (*request.query.split(b"&"), *request.body.split(b"&")):
        if name_of(piece) == b"signature":
            # As in `signing.parse`: an encoded space, too, is a "+" of base64.
            return unquote_to_bytes(piece.partition(b"=")[2]).replace(b" ", b"+")
    return b""


def _ways(
    request: Pasted, situation: Situation, sent: bytes
) -> tuple[list[signature_candidates.Way], list[signature_candidates.Way]]:
    """Those of the key's own credentials, and the right ones of the customer's other keys."""
    ways: list[signature_candidates.Way] = []
    key_id = request.header("X-MBX-APIKEY") or situation.record.key
    for credential in situation.record.credentials:
        ended = credential.retires_at_ms is not None and situation.at_ms >= credential.retires_at_ms
        extra = (found(Cause.CREDENTIAL_ENDED),) if ended else ()
        ways += signature_candidates.of_credential(credential, sent, *extra, key_id=key_id)
    others = (
        signature_candidates.plain(credential, sent, found(Cause.OTHER_KEY, name=label))
        for label, record in situation.others
        for credential in record.credentials
    )
    return ways, [way for way in others if way is not None]


def _shape(record: KeyRecord, sent: bytes) -> Found | None:
    """What the signature's look says when nothing fits."""
    kinds = {credential.kind for credential in record.credentials}
    looks_hmac = len(sent) == 64 and all(byte in b"0123456789abcdefABCDEF" for byte in sent)
    if kinds and looks_hmac != (Kind.HMAC in kinds):
        if looks_hmac or len(sent) in (88, 512, 684):
            return found(Cause.KIND_MISMATCH)
        return found(Cause.SIGNATURE_SHAPE, n=len(sent))
    return None


def _answer(
    request: Pasted, situation: Situation, checks: tuple[Check, ...], right: signing.SignedRequest | None
) -> Decision:
    """What the gateway answers, doubts aside."""
    unsure = {check.number for check in checks if check.state is State.UNSURE}
    return decide(
        situation.record,
        api_key=request.header("X-MBX-APIKEY"),
        query=request.query,
        body=request.body,
        client_ip=debugger_checks.admitted(situation.record) if 3 in unsure else situation.address,
        permission=situation.permission or "read",
        now_ms=right.timestamp_us // 1000 if right and 7 in unsure else situation.at_ms,
    )
