"""The request debugger: a signed request is pasted, and the page says why it is refused. Nothing of it is kept."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from accounts.models import User
from accounts.stages import customer
from apikeys import leaks, pasted, records, result_of_debugger, surface
from apikeys.client_api import now_ms
from apikeys.explain import Diagnosis, explain
from apikeys.forms_debugger import LONGEST_SHORT, DebuggerForm
from apikeys.models import ApiKey
from apikeys.rules import Permission, State
from apikeys.signing import Kind
from apikeys.standing import Situation
from apikeys.verification import KeyRecord
from hitobit_portal import errors
from hitobit_portal.context import address_of
from hitobit_portal.ratelimits import Rate, take

#: Deleted keys that a request may still name or be signed with.
DELETED_KEYS = 10
TEXTS = ("request", "body", "sent", "address")


@dataclass
class Own:
    """The customer's keys, newest first, the deleted ones last; and what proves possession of each, by key id."""

    keys: list[ApiKey]
    records: dict[str, KeyRecord] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, user: User) -> "Own":
        live = list(ApiKey.objects.live(user))
        deleted = ApiKey.objects.filter(owner=user, state=State.REVOKED).order_by("-revoked_at")
        return cls([*live, *deleted[:DELETED_KEYS]])

    def open(self) -> None:
        for key in self.keys:
            record = records.load(key.key_id, ended=True)
            if record is not None:
                self.records[key.key_id] = record

    def secrets(self, key: ApiKey) -> list[bytes]:
        record = self.records.get(key.key_id)
        return [c.material for c in record.credentials if c.kind is Kind.HMAC] if record else []


@never_cache
@sensitive_post_parameters("request", "body")
@require_http_methods(["GET", "HEAD", "POST"])
def debugger(request: HttpRequest) -> HttpResponse:
    """The form, and below it the diagnosis of what was pasted."""
    user = customer(request)
    own = Own.of(user)
    if request.method != "POST":
        return _page(request, DebuggerForm(keys=own.keys, chosen=request.GET.get("key", "")), own)
    wait = take(Rate.DEBUGGER, str(user.pk))
    if wait is not None:
        return errors.too_many(request, wait)
    return _diagnosed(request, own)


@sensitive_variables()
def _diagnosed(request: HttpRequest, own: Own) -> HttpResponse:
    own.open()
    typed, leaked = _without_secrets(request, own)
    form = DebuggerForm(typed, keys=own.keys)
    if not form.is_valid() and form.is_too_long:
        form.data = {**typed, "request": ""}
    text = form.pasted
    secrets = [secret for key in own.keys for secret in own.secrets(key)]
    if leaks.is_disguised("\n".join(typed.values()), _read_parts(text), secrets):
        # SECURITY: a secret that can't be masked letter by letter takes everything with it.
        return _page(request, DebuggerForm(keys=own.keys), own, leaked=own.keys)
    if text is None or not form.is_valid():
        return _page(request, form, own, leaked=leaked)
    key = _meant(form, text, own.keys)
    if key is None:
        form.add_error("key", _("The request names none of your keys. Choose the one that it is meant for."))
        return _page(request, form, own, leaked=leaked)
    form.data = {**typed, "key": str(key.pk)}
    situation = _situation(request, form, text, key, own, bool(leaked))
    result = _result(text, explain(text, situation))
    result["permission"] = Permission(situation.permission).label if situation.permission else ""
    return _page(request, form, own, leaked=leaked, key=key, at_given=situation.at_given, **result)


def _without_secrets(request: HttpRequest, own: Own) -> tuple[dict[str, str], list[ApiKey]]:
    """What was typed, with the customer's secrets masked; and whose they are. Too much of it is not kept."""
    typed = {name: request.POST.get(name, "")[: pasted.LONGEST + 1] for name in ("key", "permission", *TEXTS)}
    if len(typed["request"]) + len(typed["body"]) > pasted.LONGEST:
        typed = {**typed, "request": "-" * (pasted.LONGEST + 1), "body": ""}
    leaked = []
    for name in typed:
        for key in own.keys:
            typed[name], was_there = leaks.hide(typed[name], own.secrets(key))
            if was_there and key not in leaked:
                leaked.append(key)
    for name in ("sent", "address"):
        # SECURITY: not before its secrets are masked: half a secret would not be recognised.
        typed[name] = typed[name][: LONGEST_SHORT + 1]
    return typed, leaked


def _read_parts(text: pasted.Pasted | None) -> list[str]:
    if text is None:
        return []
    values = [text.query, text.body, text.fragment]
    named = [part for header in text.headers for part in header]
    return [
        text.method,
        text.origin,
        text.path,
        *named,
        *(value.decode("utf-8", "replace") for value in values),
    ]


def _meant(form: DebuggerForm, text: pasted.Pasted, keys: Sequence[ApiKey]) -> ApiKey | None:
    """The key that the request names if it is the customer's, else the chosen one, else their only one."""
    sent = text.header("X-MBX-APIKEY") or ""
    named = [key for key in keys if key.key_id in (sent, sent.strip("'\"<>{}[] \u200b\u200e\u200f\ufeff"))]
    chosen = [key for key in keys if str(key.pk) == form.cleaned_data["key"]]
    return (named or chosen or (list(keys) if len(keys) == 1 else [None]))[0]  # type: ignore[list-item]


def _situation(
    request: HttpRequest, form: DebuggerForm, text: pasted.Pasted, key: ApiKey, own: Own, leaked: bool
) -> Situation:
    others = [(other.label, own.records[other.key_id]) for other in own.keys if other.pk != key.pk]
    dated = pasted.moment_ms(text.header("Date") or "")
    at_ms = form.cleaned_data["sent"] if form.cleaned_data["sent"] is not None else dated
    address = form.cleaned_data["address"]
    return Situation(
        record=own.records[key.key_id],
        others=tuple(others),
        paused=key.state == State.FROZEN,
        address=address or address_of(request),
        address_given=bool(address),
        permission=form.cleaned_data["permission"] or surface.needed_permission(text),
        at_ms=now_ms() if at_ms is None else at_ms,
        at_given=at_ms is not None,
        leaked=leaked,
    )


def _result(text: pasted.Pasted, diagnosis: Diagnosis) -> dict[str, Any]:
    shown = result_of_debugger
    causes = [shown.said(found) for found in diagnosis.causes]
    compared = None if diagnosis.signed is None else shown.differing(diagnosis.payload, diagnosis.signed)
    return {
        "diagnosis": diagnosis,
        "headline": causes[0] if causes else None,
        "more_causes": causes[1:],
        "doubts": [shown.said(found) for found in diagnosis.doubts],
        "hints": [shown.said(found) for found in diagnosis.hints],
        "checks": [shown.line(check) for check in diagnosis.checks],
        "segments": shown.segments(diagnosis.payload),
        "compared": compared,
        "signed_length": len(diagnosis.signed or b""),
        "cut": max(len(diagnosis.payload), len(diagnosis.signed or b"")) > shown.SHOWN_BYTES,
        "dump": shown.dump(diagnosis.payload),
        "dump_cut": len(diagnosis.payload) > shown.DUMPED_BYTES,
        "read": text,
        "places": [
            (name, shown.segments(value), len(value))
            for name, value in ((_("Query string"), text.query), (_("Body"), text.body))
        ],
        "skew": shown.skew(diagnosis),
        "sent_at": shown.sent_at(diagnosis),
        "recv_window_ms": (diagnosis.recv_window_us or 0) // 1000,
        "path": shown.visible(text.path)[:300],
    }


def _page(
    request: HttpRequest,
    form: DebuggerForm,
    own: Own,
    *,
    leaked: Sequence[ApiKey] = (),
    **result: Any,
) -> HttpResponse:
    details = ("body", "sent", "address", "permission")
    context = {
        "form": form,
        "has_keys": bool(own.keys),
        "leaked": leaked,
        "opened": any(form.data.get(name) or form.errors.get(name) for name in details),
        **result,
    }
    return render(request, "apikeys/debugger.html", context)
