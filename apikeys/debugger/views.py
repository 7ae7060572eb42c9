"""The request debugger: a signed request is pasted, and the page says why it is refused. Nothing of it is kept."""

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from accounts.access.guard import customer
from accounts.models import User
from apikeys.debugger import presenter, request_parser
from apikeys.debugger.diagnosis import Diagnosis
from apikeys.debugger.forms import LONGEST_SHORT, DebuggerForm
from apikeys.debugger.session import Circumstances, DebuggerSession, ids_named_by, keys_of
from apikeys.models import ApiKey
from apikeys.policy.choices import Permission
from hitobit_portal.http import error_pages
from hitobit_portal.http.context import address_of
from hitobit_portal.security.ratelimits import Rate, acquire

SHORT = ("key", "permission", "sent", "address")
#: A secret in any spelling fits in; what is longer is not searched, and not kept.
LONGEST_SEARCHED = 1000


@never_cache
@sensitive_post_parameters("request", "body")
@require_http_methods(["GET", "HEAD", "POST"])
def debugger(request: HttpRequest) -> HttpResponse:
    """The form, and below it the diagnosis of what was pasted."""
    user = customer(request)
    if request.method != "POST":
        keys = keys_of(user)
        return _page(request, DebuggerForm(keys=keys, chosen=request.GET.get("key", "")), keys)
    wait = acquire(Rate.DEBUGGER, str(user.pk))
    if wait is not None:
        return error_pages.too_many(request, wait)
    return _diagnosed(request, user)


@sensitive_variables()
def _diagnosed(request: HttpRequest, user: User) -> HttpResponse:
    typed = _typed(request)
    session = DebuggerSession(user, ids_named_by(typed["request"], typed["body"]))
    typed, leaked = session.masked(typed)
    for name in ("sent", "address"):
        # SECURITY: not before its secrets are masked: a quarter of a secret would not be recognised.
        typed[name] = typed[name][: LONGEST_SHORT + 1]
    form = DebuggerForm(typed, keys=session.keys)
    if not form.is_valid() and form.is_too_long:
        form.data = {**typed, "request": ""}
    text = form.pasted
    if left := session.leaking(typed.values(), text):
        return _withheld(request, session, [*leaked, *left])
    if text is None or not form.is_valid():
        return _page(request, form, session.keys, leaked=leaked)
    key = session.meant(text, form.chosen_id)
    if key is None:
        form.add_error("key", _("The request names none of your keys. Choose the one that it is meant for."))
        return _page(request, form, session.keys, leaked=leaked)
    form.data = {**typed, "key": str(key.pk)}
    address = form.cleaned_data["address"]
    circumstances = Circumstances(
        address or address_of(request),
        bool(address),
        form.cleaned_data["permission"],
        form.cleaned_data["sent"],
    )
    looked = session.look(text, key, circumstances, leaked=bool(leaked))
    if left := session.revealing(looked):
        return _withheld(request, session, [*leaked, *left])
    result = _result(text, looked.diagnosis)
    permission = looked.situation.permission
    result["permission"] = Permission(permission).label if permission else ""
    at_given = looked.situation.at_given
    return _page(request, form, session.keys, leaked=leaked, key=key, at_given=at_given, **result)


def _typed(request: HttpRequest) -> dict[str, str]:
    """What was typed, as far as it is looked at: of a text that is too long, only that it is."""
    typed = {name: request.POST.get(name, "") for name in ("request", "body", *SHORT)}
    texts = (typed["request"], typed["body"])
    if sum(map(len, texts)) > request_parser.LONGEST or request_parser.size(*texts) > request_parser.LONGEST:
        typed |= {"request": "-" * (request_parser.LONGEST + 1), "body": ""}
    for name in SHORT:
        if len(typed[name]) > LONGEST_SEARCHED:
            typed[name] = "-" * (LONGEST_SHORT + 1)
    return typed


def _withheld(request: HttpRequest, session: DebuggerSession, leaked: Sequence[ApiKey]) -> HttpResponse:
    """SECURITY: a secret that can't be masked letter by letter takes everything with it."""
    return _page(request, DebuggerForm(keys=session.keys), session.keys, leaked=list(dict.fromkeys(leaked)))


def _result(text: request_parser.Pasted, diagnosis: Diagnosis) -> dict[str, Any]:
    shown = presenter
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
        "cut": any(shown.is_cut(payload) for payload in (diagnosis.payload, diagnosis.signed or b"")),
        "dump": shown.dump(diagnosis.payload),
        "dump_cut": len(diagnosis.payload) > shown.DUMPED_BYTES,
        "method": shown.visible(text.method),
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
    keys: Sequence[ApiKey],
    *,
    leaked: Sequence[ApiKey] = (),
    **result: Any,
) -> HttpResponse:
    details = ("body", "sent", "address", "permission")
    context = {
        "form": form,
        "has_keys": bool(keys),
        "leaked": leaked,
        "opened": any(form.data.get(name) or form.errors.get(name) for name in details),
        **result,
    }
    return render(request, "apikeys/debugger.html", context)
