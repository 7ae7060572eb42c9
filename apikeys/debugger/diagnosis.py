"""Diagnose a rejected request: run the nine checks of the signing contract and name the causes of failures. Pure.

Unlike in the gateway, all checks run after a failure, so that a person who fixes a request sees all problems at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from apikeys.debugger import checks as debugger_checks
from apikeys.debugger import search, signature_candidates, syntax_checks
from apikeys.debugger.budget import Budget
from apikeys.debugger.causes import Cause, DetectedCause, detected
from apikeys.debugger.checks import Check, CheckState, Situation
from apikeys.debugger.payload_candidates import Parts, name_of
from apikeys.debugger.request_parser import ParsedRequest
from apikeys.verification import signing
from apikeys.verification.decision import Decision, decide
from apikeys.verification.records import KeyRecord
from apikeys.verification.signing import Kind


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The nine checks, the causes of failures, and the response that the client gets.

    Attributes:
        payload: the bytes that the client should have signed.
        signed: the bytes that the client signed instead, if the search identified them.
        causes: the first one is the headline.
        doubts: causes that depend on a time or address that was not given.
        hints: possible problems that do not cause a rejection.
    """

    payload: bytes = field(repr=False)
    signed: bytes | None = field(repr=False)
    checks: tuple[Check, ...]
    causes: tuple[DetectedCause, ...]
    doubts: tuple[DetectedCause, ...]
    hints: tuple[DetectedCause, ...]
    answer: Decision
    timestamp_us: int | None
    recv_window_us: int | None
    skew_ms: int | None

    @property
    def is_valid(self) -> bool:
        return not self.causes


def explain(request: ParsedRequest, situation: Situation, budget: Budget | None = None) -> Diagnosis:
    """Diagnose one request of a customer, within the remaining ``budget``."""
    parts = Parts.of(request.query, request.body)
    parsed = _parsed(request)
    signed_request = parsed if isinstance(parsed, signing.SignedRequest) else None
    first = [
        _key(request, situation),
        debugger_checks.check_key(situation),
        debugger_checks.check_address(situation),
    ]
    if first[0].state is CheckState.OK and request.header("X-MBX-APIKEY") != situation.record.key:
        cause = syntax_checks.key_header(request, situation.record.key, situation.has_secret)
        first[1] = Check(2, CheckState.FAILED, (cause,) if cause else ())
    signature, signed = _signature(request, situation, signed_request, parts, budget or Budget())
    checks = (
        *first,
        *_parameters(request, parsed),
        debugger_checks.check_freshness(situation, signed_request),
        signature,
        debugger_checks.permission(situation),
    )
    failed = [cause for check in checks if check.state is CheckState.FAILED for cause in check.causes]
    text = syntax_checks.text_causes(request)
    if not any(check.state is CheckState.FAILED and check.number >= 4 for check in checks):
        text = []
    return Diagnosis(
        payload=parts.payload,
        signed=signed,
        checks=checks,
        causes=tuple(dict.fromkeys((*text, *failed))),
        doubts=tuple(c for check in checks if check.state is CheckState.UNSURE for c in check.causes),
        hints=tuple(syntax_checks.hints(request)),
        answer=_answer(request, situation, checks, signed_request),
        timestamp_us=signed_request.timestamp_us if signed_request else None,
        recv_window_us=signed_request.recv_window_us if signed_request else None,
        skew_ms=signed_request.timestamp_us // 1000 - situation.at_ms if signed_request else None,
    )


def _parsed(request: ParsedRequest) -> signing.SignedRequest | signing.ContractError:
    try:
        return signing.parse(request.query, request.body)
    except signing.ContractError as error:
        return error


def _key(request: ParsedRequest, situation: Situation) -> Check:
    cause = syntax_checks.key_header(request, situation.record.key, situation.has_secret)
    if cause is None or cause.cause in (Cause.KEY_UNKNOWN, Cause.KEY_CASE):
        return Check(1, CheckState.OK)
    return Check(1, CheckState.FAILED, (cause,))


def _parameters(
    request: ParsedRequest, parsed: signing.SignedRequest | signing.ContractError
) -> tuple[Check, Check, Check]:
    """Run checks 4 to 6; after the first failure the others are skipped."""
    failed = 7
    if isinstance(parsed, signing.ContractError):
        order = (signing.ContractViolation.PARAMETER_MISSING, signing.ContractViolation.PARAMETER_DUPLICATE)
        failed = 4 + order.index(parsed.violation) if parsed.violation in order else 6
    causes = (syntax_checks.parameters(request, parsed),) if isinstance(parsed, signing.ContractError) else ()
    four, five, six = (
        Check(n, CheckState.OK if n < failed else CheckState.SKIPPED)
        if n != failed
        else Check(n, CheckState.FAILED, causes)
        for n in (4, 5, 6)
    )
    return four, five, six


def _signature(
    request: ParsedRequest,
    situation: Situation,
    signed_request: signing.SignedRequest | None,
    parts: Parts,
    budget: Budget,
) -> tuple[Check, bytes | None]:
    """Run check 8, also if an earlier check failed, and return the bytes that the client signed instead."""
    sent = signed_request.signature if signed_request else _signature_of(request)
    if not sent:
        return Check(8, CheckState.SKIPPED), None
    candidates, others = _signature_candidates(request, situation, sent)
    result = search.search(request, parts, candidates, others, budget)
    foreign = syntax_checks.foreign_bytes(request)
    causes = (foreign,) if foreign else ()
    if result is None:
        unknown = _cause_of_form(situation.record, sent) or detected(Cause.SIGNATURE_UNKNOWN)
        return Check(8, CheckState.FAILED, (*causes, unknown)), None
    causes = (*causes, *result.causes)
    if not causes:
        return Check(8, CheckState.OK), None
    return Check(8, CheckState.FAILED, causes), result.signed if result.signed != parts.payload else None


def _signature_of(request: ParsedRequest) -> bytes:
    for piece in (*request.query.split(b"&"), *request.body.split(b"&")):
        if name_of(piece) == b"signature":
            # As in `signing.parse`: an encoded space, too, is a "+" of base64.
            return unquote_to_bytes(piece.partition(b"=")[2]).replace(b" ", b"+")
    return b""


def _signature_candidates(
    request: ParsedRequest, situation: Situation, sent: bytes
) -> tuple[list[signature_candidates.SignatureCandidate], list[signature_candidates.SignatureCandidate]]:
    """Return the candidates of the key's credentials, and the correct candidates of the customer's other keys."""
    candidates: list[signature_candidates.SignatureCandidate] = []
    key_id = request.header("X-MBX-APIKEY") or situation.record.key
    for credential in situation.record.credentials:
        ended = credential.retires_at_ms is not None and situation.at_ms >= credential.retires_at_ms
        extra = (detected(Cause.CREDENTIAL_ENDED),) if ended else ()
        candidates += signature_candidates.candidates_of(credential, sent, *extra, key_id=key_id)
    others = (
        signature_candidates.correct_candidate(credential, sent, detected(Cause.OTHER_KEY, name=label))
        for label, record in situation.others
        for credential in record.credentials
    )
    return candidates, [candidate for candidate in others if candidate is not None]


def _cause_of_form(record: KeyRecord, sent: bytes) -> DetectedCause | None:
    """Return the cause that the form of the signature indicates, if no candidate matches."""
    kinds = {credential.kind for credential in record.credentials}
    has_hmac_form = len(sent) == 64 and all(byte in b"0123456789abcdefABCDEF" for byte in sent)
    if kinds and has_hmac_form != (Kind.HMAC in kinds):
        if has_hmac_form or len(sent) in (88, 512, 684):
            return detected(Cause.KIND_MISMATCH)
        return detected(Cause.SIGNATURE_SHAPE, n=len(sent))
    return None


def _answer(
    request: ParsedRequest,
    situation: Situation,
    checks: tuple[Check, ...],
    signed_request: signing.SignedRequest | None,
) -> Decision:
    """Return the decision of the gateway, assuming that all unsure checks pass."""
    unsure = {check.number for check in checks if check.state is CheckState.UNSURE}
    return decide(
        situation.record,
        api_key=request.header("X-MBX-APIKEY"),
        query=request.query,
        body=request.body,
        client_ip=debugger_checks.admitted_address(situation.record) if 3 in unsure else situation.address,
        permission=situation.permission or "read",
        now_ms=signed_request.timestamp_us // 1000 if signed_request and 7 in unsure else situation.at_ms,
    )
