"""A request's diagnosis for the terminal and for scripts: what the debugger's page shows, without a browser."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from apikeys import leaks, pasted, records, surface
from apikeys import result_of_debugger as shown
from apikeys.causes import Cause, Found
from apikeys.client_api import now_ms
from apikeys.explain import Diagnosis, explain
from apikeys.models import ApiKey
from apikeys.rules import State
from apikeys.signing import Kind
from apikeys.standing import Situation
from apikeys.verification import KeyRecord

#: Deleted keys of the customer that a request may still be signed with.
DELETED_KEYS = 10
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
    request: pasted.Pasted = field(repr=False)
    diagnosis: Diagnosis = field(repr=False)
    leaked: bool = False


def of(asked: Asked) -> Explained:
    """The diagnosis against the stored key that the request, or the operator, names. Raises `Refused`."""
    if len(asked.text) + len(asked.body) > pasted.LONGEST:
        raise Refused(f"the request is longer than {pasted.LONGEST} characters")
    request = _read(asked.text, asked.body)
    key = _meant(asked.key_id or request.header("X-MBX-APIKEY") or "")
    own = [key, *_other_keys(key)]
    opened = {one.pk: record for one in own if (record := records.load(one.key_id, ended=True)) is not None}
    secrets = [c.material for record in opened.values() for c in record.credentials if c.kind is Kind.HMAC]
    text, in_text = leaks.hide(asked.text, secrets)
    body, in_body = leaks.hide(asked.body, secrets)
    request = _read(text, body)
    # SECURITY: a secret that can't be masked letter by letter takes everything with it.
    if leaks.is_disguised(f"{text}\n{body}", _parts(request), secrets):
        raise Refused(
            "a secret key of this customer is in the request; tell them to delete the key, remove it and try again"
        )
    leaked = in_text or in_body
    others = tuple((one.label, opened[one.pk]) for one in own[1:] if one.pk in opened)
    situation = _situation(asked, request, key, opened[key.pk], others, leaked)
    return Explained(key, request, explain(request, situation), leaked)


def _read(text: str, body: str) -> pasted.Pasted:
    try:
        return pasted.read(text, body)
    except pasted.UnreadableError:
        raise Refused("this is neither a curl command nor the text of an HTTP request nor a URL") from None


def _meant(key_id: str) -> ApiKey:
    key = ApiKey.objects.select_related("owner").filter(key_id=key_id.strip("'\"<>{}[] ")).first()
    if key is None:
        raise Refused("no stored key has this id; name the one that is meant with --key KEY_ID")
    return key


def _other_keys(key: ApiKey) -> list[ApiKey]:
    own = ApiKey.objects.filter(owner=key.owner_id).exclude(pk=key.pk)
    deleted = own.filter(state=State.REVOKED).order_by("-revoked_at")
    return [*own.exclude(state=State.REVOKED), *deleted[:DELETED_KEYS]]


def _parts(request: pasted.Pasted) -> list[str]:
    values = (request.query, request.body, request.fragment)
    headers = [part for header in request.headers for part in header]
    return [request.origin, request.path, *headers, *(value.decode("utf-8", "replace") for value in values)]


def _situation(
    asked: Asked,
    request: pasted.Pasted,
    key: ApiKey,
    record: KeyRecord,
    others: Sequence[tuple[str, KeyRecord]],
    leaked: bool,
) -> Situation:
    at_ms = asked.at_ms if asked.at_ms is not None else pasted.moment_ms(request.header("Date") or "")
    return Situation(
        record=record,
        others=tuple(others),
        paused=key.state == State.FROZEN,
        address=asked.address or NOWHERE,
        address_given=bool(asked.address),
        permission=asked.permission or surface.needed_permission(request),
        at_ms=now_ms() if at_ms is None else at_ms,
        at_given=at_ms is not None,
        leaked=leaked,
    )


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
    return "".join(text for _is_sign, text in shown.segments(payload))


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
