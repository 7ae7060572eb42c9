"""Report a diagnosis on the terminal and as JSON: the content of the debugger's page without a browser."""

from dataclasses import dataclass, field
from typing import Any

from apikeys.debugger import presenter, request_parser
from apikeys.debugger.causes import Cause, DetectedCause
from apikeys.debugger.diagnosis import Diagnosis
from apikeys.debugger.session import DebuggerSession, SendDetails, named_key_ids
from apikeys.models import ApiKey
from hitobit_portal.i18n.bidi import without_isolates

#: Replaces an address that the operator did not give. A rejection of it is a doubt, never a cause.
UNKNOWN_ADDRESS = "0.0.0.0"  # nosec B104
ADDRESS_UNKNOWN = {
    "title": "The key is restricted to trusted IPs, and the client's is not known",
    "mend": "Give it with --address.",
}


class ExplainError(Exception):
    """The request cannot be explained. The message is the reason and contains nothing of the request."""


@dataclass(frozen=True)
class ExplainRequest:
    """The operator's input; ``address`` and ``permission`` are "" and ``at_ms`` is None if unknown."""

    text: str = field(repr=False)
    body: str = field(default="", repr=False)
    key_id: str = ""
    address: str = ""
    permission: str = ""
    at_ms: int | None = None


@dataclass(frozen=True)
class Explanation:
    """``has_secret``: the request contained a secret, which was masked."""

    key: ApiKey
    request: request_parser.ParsedRequest = field(repr=False)
    diagnosis: Diagnosis = field(repr=False)
    has_secret: bool = False


def explain(given: ExplainRequest) -> Explanation:
    """Diagnose a request for the stored key that the request, or the operator, names. Raises `ExplainError`."""
    if request_parser.byte_size(given.text, given.body) > request_parser.MAX_BYTES:
        raise ExplainError(f"the request is longer than {request_parser.MAX_BYTES} bytes")
    named = named_key_ids(given.text, given.body)
    # The operator's key id takes precedence over the request's for the owner: a request may name anybody's key.
    chosen = given.key_id.strip()
    ids = (chosen, *named)
    owners = {key.key_id: key.owner for key in ApiKey.objects.select_related("owner").filter(key_id__in=ids)}
    owner = next((owners[key_id] for key_id in ids if key_id in owners), None)
    if owner is None:
        _parse(given.text, given.body)
        raise ExplainError("no stored key has this id; give the id of the key with --key KEY_ID")
    session = DebuggerSession(owner, ids)
    typed, exposed_keys = session.mask({"text": given.text, "body": given.body})
    request = _parse(typed["text"], typed["body"])
    key = session.choose_key(request, chosen)
    if key is None:
        raise ExplainError("the request names none of this customer's keys; give a key id with --key KEY_ID")
    details = SendDetails(
        given.address or UNKNOWN_ADDRESS, bool(given.address), given.permission, given.at_ms
    )
    result = None
    if not session.find_unmasked(typed.values(), request):
        result = session.diagnose(request, key, details, has_secret=bool(exposed_keys))
    # SECURITY: if a secret cannot be masked letter by letter, nothing of the request is shown.
    if result is None or session.find_revealed(result):
        raise ExplainError(
            "a secret key of this customer is in the request; tell them to delete the key, remove it and try again"
        )
    return Explanation(key, request, result.diagnosis, bool(exposed_keys))


def _parse(text: str, body: str) -> request_parser.ParsedRequest:
    try:
        return request_parser.parse(text, body)
    except request_parser.TooLongError:
        raise ExplainError(f"the parsed request is longer than {request_parser.MAX_BYTES} bytes") from None
    except request_parser.UnreadableError:
        message = "this is neither a curl command nor the text of an HTTP request nor a URL"
        raise ExplainError(message) from None


def as_document(explanation: Explanation) -> dict[str, Any]:
    """Return JSON values; invisible characters of the payload are replaced by signs."""
    diagnosis = explanation.diagnosis
    return {
        "right": diagnosis.is_valid,
        "key": explanation.key.key_id,
        "label": explanation.key.label,
        "owner": explanation.key.owner_id,
        "answer": {"outcome": diagnosis.answer.outcome.value, "code": diagnosis.answer.code},
        "causes": [_cause_as_json(cause) for cause in diagnosis.causes],
        "doubts": [_cause_as_json(cause) for cause in diagnosis.doubts],
        "hints": [_cause_as_json(cause) for cause in diagnosis.hints],
        "checks": [
            {
                "number": check.number,
                "check": str(presenter.check_line(check).title),
                "state": check.state.name.lower(),
            }
            for check in diagnosis.checks
        ],
        "payload": _signs(diagnosis.payload),
        "signed": None if diagnosis.signed is None else _signs(diagnosis.signed),
        "sent_at": presenter.sent_at(diagnosis),
        "skew_ms": diagnosis.skew_ms,
        "secret_in_request": explanation.has_secret,
    }


def _cause_as_json(detected: DetectedCause) -> dict[str, str]:
    if detected.cause is Cause.ADDRESS_HERE:  # its text is about a browser
        return {"cause": detected.cause.value, **ADDRESS_UNKNOWN}
    text = presenter.cause_text(detected)
    return {
        "cause": detected.cause.value,
        "title": without_isolates(text.title),
        "mend": without_isolates(text.fix),
    }


def _signs(payload: bytes) -> str:
    return "".join(text for _is_sign, text in presenter.segments(payload, None))


def as_lines(document: dict[str, Any]) -> list[str]:
    """Return a document of `as_document` as lines for people."""
    key, label, owner = document["key"][:8], presenter.visible(document["label"]), document["owner"]
    lines = [f"Key {key}… ({label}), customer {owner}"]
    if document["secret_in_request"]:
        lines.append(
            "! The request contained a secret key. It is masked here; the customer has to delete that key."
        )
    headline = (
        "This request is valid." if document["right"] else f"Rejected: {document['causes'][0]['title']}"
    )
    lines.append(headline)
    rows_by_title = (("", document["causes"]), ("depends", document["doubts"]), ("hint", document["hints"]))
    for title, rows in rows_by_title:
        for row in rows:
            lines += [f"  {title + ': ' if title else '* '}{row['title']}", f"    -> {row['mend']}"]
    lines += [f"  {check['number']} {check['state']:8} {check['check']}" for check in document["checks"]]
    lines.append(f"Answer: {document['answer']['outcome']} (code {document['answer']['code']})")
    if document["sent_at"]:
        lines.append(
            f"Sent at {document['sent_at']}, {document['skew_ms']:+d} ms relative to the time of the check"
        )
    lines.append(f"Text to sign:  {document['payload']}")
    if document["signed"] is not None:
        lines.append(f"Signed text:  {document['signed']}")
    return lines
