"""Check a request without any secret: its text, its key header and its parameters. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from apikeys.debugger.causes import Cause, DetectedCause, detected
from apikeys.debugger.payload_candidates import name_of
from apikeys.debugger.request_parser import METHODS, ParsedRequest
from apikeys.verification import signing
from apikeys.verification.decision import is_key_id

_KEY_HEADERS = ("xmbxapikey", "xapikey", "apikey", "mbxapikey", "xmbxkey", "xmbxapi", "xkey", "authorization")
_SIGNATURE_NAMES = ("signature", "sign", "sig", "hmac", "xsignature", "xmbxsignature")
# RFC 3986, 3.4, as in `signing`: bytes that a query string must not contain.
_FOREIGN = re.compile(rb"[^A-Za-z0-9\-._~!$&'()*+,;=:@/?%]")
_STRAY = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def text_causes(request: ParsedRequest) -> list[DetectedCause]:
    """Return the causes that the text itself shows, the most specific ones first."""
    causes = [detected(cause) for cause in dict.fromkeys(request.causes)]
    whole = request.query + b"&" + request.body
    if b"\xc3\x97tamp=" in whole or re.search(rb"&amp;|%C3%97tamp=", whole):
        causes.append(detected(Cause.HTML_ENTITY))
    kind = (request.header("Content-Type") or "").casefold()
    if "multipart/" in kind and Cause.MULTIPART not in request.causes:
        causes.append(detected(Cause.MULTIPART))
    if request.body.lstrip()[:1] in (b"{", b"["):
        causes.append(detected(Cause.JSON_BODY))
    if request.fragment:
        causes.append(detected(Cause.FRAGMENT))
    return causes


def hints(request: ParsedRequest) -> list[DetectedCause]:
    """Return problems that do not cause a rejection by themselves."""
    if request.method not in METHODS:
        return [detected(Cause.METHOD_UNKNOWN, method=request.method)]
    if request.method in ("GET", "HEAD") and request.body:
        return [detected(Cause.GET_BODY)]
    return []


def foreign_bytes(request: ParsedRequest) -> DetectedCause | None:
    """Return the cause for the first byte that neither a query string nor a form body may contain."""
    for place in (request.query, request.body):
        if match := _FOREIGN.search(place):
            byte = match[0][0]
            return detected(Cause.NOT_ENCODED, byte=f"%{byte:02X}")
        if _STRAY.search(place):
            return detected(Cause.STRAY_PERCENT)
    return None


def key_header(request: ParsedRequest, key_id: str, has_secret: bool) -> DetectedCause | None:
    """Return the problem of the key header compared with ``key_id``; whether the key works is not checked."""
    sent = request.header("X-MBX-APIKEY")
    if sent is None or not sent:
        return _misnamed(request, key_id)
    if sent == key_id:
        return None
    bare = bare_key(sent)
    if has_secret and set(sent) == {"*"}:
        return detected(Cause.KEY_IS_SECRET)
    if is_key_id(sent):
        return detected(Cause.KEY_CASE if sent.casefold() == key_id.casefold() else Cause.KEY_UNKNOWN)
    if bare == key_id:
        visible = sent.isascii() and sent.isprintable()
        return detected(Cause.KEY_DECORATED if visible else Cause.KEY_INVISIBLE)
    return detected(Cause.KEY_LENGTH, n=len(sent))


def bare_key(sent: str) -> str:
    """Return the letters and digits of a key header, without quotes, brackets, spaces and invisible characters."""
    return re.sub(r"[^A-Za-z0-9]", "", sent)


def _misnamed(request: ParsedRequest, key_id: str) -> DetectedCause:
    for name, value in request.headers:
        if value == key_id or re.sub(r"[^a-z]", "", name.casefold()) in _KEY_HEADERS:
            return detected(Cause.KEY_HEADER_NAME, name=name)
    for piece in (*request.query.split(b"&"), *request.body.split(b"&")):
        if piece.partition(b"=")[2] == key_id.encode():
            return detected(Cause.KEY_HEADER_NAME, name=name_of(piece).decode("utf-8", "replace"))
    return detected(Cause.KEY_MISSING)


def parameters(request: ParsedRequest, error: signing.ContractError) -> DetectedCause:
    """Return the cause of a failure of checks 4 to 6."""
    if error.violation is signing.ContractViolation.RECV_WINDOW:
        return detected(Cause.RECV_WINDOW_LARGE)
    if error.violation is signing.ContractViolation.PARAMETER_DUPLICATE:
        return _duplicate(request)
    name = str(error.arguments[0])
    names = [name_of(piece).decode("utf-8", "replace") for piece in _pieces(request)]
    if name == "recvWindow":
        return detected(Cause.RECV_WINDOW_MALFORMED)
    if name == "timestamp":
        if "timestamp" in names:
            return detected(Cause.TIMESTAMP_MALFORMED)
        alike = [n for n in names if n.casefold() in ("timestamp", "time", "ts", "time_stamp", "nonce")]
        return detected(Cause.TIMESTAMP_NAME, name=alike[0]) if alike else detected(Cause.TIMESTAMP_MISSING)
    alike = [n for n in names if n != "signature" and _bare(n) in _SIGNATURE_NAMES]
    if alike:
        return detected(Cause.SIGNATURE_NAME, name=alike[0])
    for header, _value in request.headers:
        if _bare(header) in _SIGNATURE_NAMES:
            return detected(Cause.SIGNATURE_HEADER, name=header)
    return detected(Cause.SIGNATURE_MISSING)


def _duplicate(request: ParsedRequest) -> DetectedCause:
    for place in (request.query, request.body):
        counts = Counter(name_of(piece) for piece in place.split(b"&") if piece)
        for name, count in counts.items():
            if count > 1:
                return detected(Cause.DUPLICATE, name=name.decode("utf-8", "replace"))
    return detected(Cause.TWO_SIGNATURES)


def _bare(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.casefold())


def _pieces(request: ParsedRequest) -> Iterator[bytes]:
    yield from request.query.split(b"&")
    yield from request.body.split(b"&")


def needed_permission(request: ParsedRequest) -> str | None:
    """Return the permission that the request needs, judging by method and path; ``None`` if unknown."""
    path = request.path.casefold()
    if request.method in ("GET", "HEAD"):
        return "read"
    if "withdraw" in path:
        return "withdraw"
    return "trade" if "order" in path else None
