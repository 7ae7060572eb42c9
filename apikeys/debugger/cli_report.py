"""A request's diagnosis for the terminal and for scripts: what the debugger's page shows, without a browser."""

from dataclasses import dataclass, field
from typing import Any

from apikeys.debugger import presenter as shown
from apikeys.debugger import request_parser
from apikeys.debugger.causes import Cause, Found
from apikeys.debugger.diagnosis import Diagnosis
from apikeys.debugger.session import Circumstances, DebuggerSession, ids_named_by
from apikeys.models import ApiKey

ISOLATES = {0x2066: None, 0x2069: None}
#: Stands in for an address that the operator did not give; what it leads to is a doubt, never a cause.
NOWHERE = "0.0.0.0"  # nosec B104
ASKS_ADDRESS = {
    "title": "The key is restricted to trusted IPs, and the client's is not known",
    "mend": "Give it with --address.",
}


class Refused(Exception):
    """Nothing is explained; the message says why, and repeats nothing of the request."""


@dataclass(frozen=True)
class Asked:
    """What the operator gave; ``address`` and ``permission`` "" and ``at_ms`` None where they are not known."""

    text: str = field(repr=False)
    body: str = field(default="", repr=False)
    key_id: str = ""
    address: str = ""
    permission: str = ""
    at_ms: int | None = None


@dataclass(frozen=True)
class Explained:
    key: ApiKey
    request: request_parser.Pasted = field(repr=False)
    diagnosis: Diagnosis = field(repr=False)
    leaked: bool = False


def of(asked: Asked) -> Explained:
    """The diagnosis against the stored key that the request, or the operator, names. Raises `Refused`."""
    if request_parser.size(asked.text, asked.body) > request_parser.LONGEST:
        raise Refused(f"the request is longer than {request_parser.LONGEST} bytes")
    named = ids_named_by(asked.text, asked.body)
    # Whose request it is: the operator's word goes before that of the request, which may name anybody's key.
    chosen = asked.key_id.strip()
    ids = (chosen, *named)
    owners = {key.key_id: key.owner for key in ApiKey.objects.select_related("owner").filter(key_id__in=ids)}
    owner = next((owners[key_id] for key_id in ids if key_id in owners), None)
    if owner is None:
        _read(asked.text, asked.body)
        raise Refused("no stored key has this id; name the one that is meant with --key KEY_ID")
    session = DebuggerSession(owner, ids)
    typed, leaked = session.masked({"text": asked.text, "body": asked.body})
    request = _read(typed["text"], typed["body"])
    key = session.meant(request, chosen)
    if key is None:
        raise Refused("the request names none of this customer's keys; name one with --key KEY_ID")
    circumstances = Circumstances(
        asked.address or NOWHERE, bool(asked.address), asked.permission, asked.at_ms
    )
    looked = None
    if not session.leaking(typed.values(), request):
        looked = session.look(request, key, circumstances, leaked=bool(leaked))
    # SECURITY: a secret that can't be masked letter by letter takes everything with it.
    if looked is None or session.revealing(looked):
        raise Refused(
            "a secret key of this customer is in the request; tell them to delete the key, remove it and try again"
        )
    return Explained(key, request, looked.diagnosis, bool(leaked))


def _read(text: str, body: str) -> request_parser.Pasted:
    try:
        return request_parser.read(text, body)
    except request_parser.TooLongError:
        raise Refused(
            f"what is read out of the request is longer than {request_parser.LONGEST} bytes"
        ) from None
    except request_parser.UnreadableError:
        raise Refused("this is neither a curl command nor the text of an HTTP request nor a URL") from None


def document(explained: Explained) -> dict[str, Any]:
    """JSON values; the payload with signs for what can't be seen."""
    diagnosis = explained.diagnosis
    return {
        "right": diagnosis.is_right,
        "key": explained.key.key_id,
        "label": explained.key.label,
        "owner": explained.key.owner_id,
        "answer": {"outcome": diagnosis.answer.outcome.value, "code": diagnosis.answer.code},
        "causes": [_said(found) for found in diagnosis.causes],
        "doubts": [_said(found) for found in diagnosis.doubts],
        "hints": [_said(found) for found in diagnosis.hints],
        "checks": [
            {"number": check.number, "check": str(shown.line(check).title), "state": check.state.name.lower()}
            for check in diagnosis.checks
        ],
        "payload": _signs(diagnosis.payload),
        "signed": None if diagnosis.signed is None else _signs(diagnosis.signed),
        "sent_at": shown.sent_at(diagnosis),
        "skew_ms": diagnosis.skew_ms,
        "secret_in_request": explained.leaked,
    }


def _said(found: Found) -> dict[str, str]:
    if found.cause is Cause.ADDRESS_HERE:  # its words are about a browser
        return {"cause": found.cause.value, **ASKS_ADDRESS}
    said = shown.said(found)
    return {
        "cause": found.cause.value,
        "title": said.title.translate(ISOLATES),
        "mend": said.mend.translate(ISOLATES),
    }


def _signs(payload: bytes) -> str:
    return "".join(text for _is_sign, text in shown.segments(payload, None))


def lines(told: dict[str, Any]) -> list[str]:
    """The document for people."""
    found = [f"Key {told['key'][:8]}… ({shown.visible(told['label'])}), customer {told['owner']}"]
    if told["secret_in_request"]:
        found.append(
            "! A secret key was in the request. It is masked here; the customer has to delete that key."
        )
    found.append("This request is right." if told["right"] else f"Refused: {told['causes'][0]['title']}")
    for title, rows in (("", told["causes"]), ("depends", told["doubts"]), ("hint", told["hints"])):
        for row in rows:
            found += [f"  {title + ': ' if title else '* '}{row['title']}", f"    -> {row['mend']}"]
    found += [f"  {check['number']} {check['state']:8} {check['check']}" for check in told["checks"]]
    found.append(f"Answer: {told['answer']['outcome']} (code {told['answer']['code']})")
    if told["sent_at"]:
        found.append(f"Sent at {told['sent_at']}, {told['skew_ms']:+d} ms against the time it is judged by")
    found.append(f"What counts:  {told['payload']}")
    if told["signed"] is not None:
        found.append(f"What was signed:  {told['signed']}")
    return found
