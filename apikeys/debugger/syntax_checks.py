"""What can be seen of a request without any secret: its text, its key header, its parameters. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from apikeys.debugger.causes import Cause, Found, found
from apikeys.debugger.payload_candidates import name_of
from apikeys.debugger.request_parser import METHODS, Pasted
from apikeys.verification import signing
from apikeys.verification.decision import is_key_id

_KEY_HEADERS = ("xmbxapikey", "xapikey", "apikey", "mbxapikey", "xmbxkey", "xmbxapi", "xkey", "authorization")
_SIGNATURE_NAMES = ("signature", "sign", "sig", "hmac", "xsignature", "xmbxsignature")
# RFC 3986, 3.4, as in `signing`: bytes that a query string may hold.
_FOREIGN = re.compile(rb"[^A-Za-z0-9\-._~!$&'()*+,;=:@/?%]")
_STRAY = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def text_causes(request: Pasted) -> list[Found]:
    """What the text itself shows, the most telling first."""
    causes = [found(cause) for cause in dict.fromkeys(request.causes)]
    whole = request.query + b"&" + request.body
    if b"\xc3\x97tamp=" in whole or re.search(rb"&amp;|%C3%97tamp=", whole):
        causes.append(found(Cause.HTML_ENTITY))
    kind = (request.header("Content-Type") or "").casefold()
    if "multipart/" in kind and Cause.MULTIPART not in request.causes:
        causes.append(found(Cause.MULTIPART))
    if request.body.lstrip()[:1] in (b"{", b"["):
        causes.append(found(Cause.JSON_BODY))
    if request.fragment:
        causes.append(found(Cause.FRAGMENT))
    return causes


def hints(request: Pasted) -> list[Found]:
    """What is no reason for a refusal by itself."""
    if request.method not in METHODS:
        return [found(Cause.METHOD_UNKNOWN, method=request.method)]
    if request.method in ("GET", "HEAD") and request.body:
        return [found(Cause.GET_BODY)]
    return []


def foreign_bytes(request: Pasted) -> Found | None:
    """The first byte that neither query string nor form body may hold."""
    for place in (request.query, request.body):
        if match := _FOREIGN.search(place):
            byte = match[0][0]
            return found(Cause.NOT_ENCODED, byte=f"%{byte:02X}")
        if _STRAY.search(place):
            return found(Cause.STRAY_PERCENT)
    return None


def key_header(request: Pasted, key_id: str, leaked: bool) -> Found | None:
    """What is wrong with the key header, for the key ``key_id``; a key that does not work is another matter."""
    sent = request.header("X-MBX-APIKEY")
    if sent is None or not sent:
        return _misnamed(request, key_id)
    if sent == key_id:
        return None
    bare = bare_key(sent)
    if leaked and set(sent) == {"*"}:
        return found(Cause.KEY_IS_SECRET)
    if is_key_id(sent):
        return found(Cause.KEY_CASE if sent.casefold() == key_id.casefold() else Cause.KEY_UNKNOWN)
    if bare == key_id:
        visible = sent.isascii() and sent.isprintable()
        return found(Cause.KEY_DECORATED if visible else Cause.KEY_INVISIBLE)
    return found(Cause.KEY_LENGTH, n=len(sent))


def bare_key(sent: str) -> str:
    """The letters and digits of a key header: what is left without quotes, brackets, spaces and what can't be seen."""
    return re.sub(r"[^A-Za-z0-9]", "", sent)


def _misnamed(request: Pasted, key_id: str) -> Found:
    for name, value in request.headers:
        if value == key_id or re.sub(r"[^a-z]", "", name.casefold()) in _KEY_HEADERS:
            return found(Cause.KEY_HEADER_NAME, name=name)
    for piece in (*request.query.split(b"&"), *request.body.split(b"&")):
        if piece.partition(b"=")[2] == key_id.encode():
            return found(Cause.KEY_HEADER_NAME, name=name_of(piece).decode("utf-8", "replace"))
    return found(Cause.KEY_MISSING)


def parameters(request: Pasted, error: signing.ContractError) -> Found:
    """The cause of a refusal by checks 4 to 6."""
    if error.violation is signing.ContractViolation.RECV_WINDOW:
        return found(Cause.RECV_WINDOW_LARGE)
    if error.violation is signing.ContractViolation.PARAMETER_DUPLICATE:
        return _duplicate(request)
    name = str(error.arguments[0])
    names = [name_of(piece).decode("utf-8", "replace") for piece in _pieces(request)]
    if name == "recvWindow":
        return found(Cause.RECV_WINDOW_MALFORMED)
    if name == "timestamp":
        if "timestamp" in names:
            return found(Cause.TIMESTAMP_MALFORMED)
        alike = [n for n in names if n.casefold() in ("timestamp", "time", "ts", "time_stamp", "nonce")]
        return found(Cause.TIMESTAMP_NAME, name=alike[0]) if alike else found(Cause.TIMESTAMP_MISSING)
    alike = [n for n in names if n != "signature" and _bare(n) in _SIGNATURE_NAMES]
    if alike:
        return found(Cause.SIGNATURE_NAME, name=alike[0])
    for header, _value in request.headers:
        if _bare(header) in _SIGNATURE_NAMES:
            return found(Cause.SIGNATURE_HEADER, name=header)
    return found(Cause.SIGNATURE_MISSING)


def _duplicate(request: Pasted) -> Found:
    for place in (request.query, request.body):
        counts = Counter(name_of(piece) for piece in place.split(b"&") if piece)
        for name, count in counts.items():
            if count > 1:
                return found(Cause.DUPLICATE, name=name.decode("utf-8", "replace"))
    return found(Cause.TWO_SIGNATURES)


def _bare(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.casefold())


def _pieces(request: Pasted) -> Iterator[bytes]:
    yield from request.query.split(b"&")
    yield from request.body.split(b"&")


def needed_permission(request: Pasted) -> str | None:
    """The permission that such a request needs, as far as method and path tell."""
    path = request.path.casefold()
    if request.method in ("GET", "HEAD"):
        return "read"
    if "withdraw" in path:
        return "withdraw"
    return "trade" if "order" in path else None
