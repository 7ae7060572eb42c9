"""The page of the request debugger: explains why a pasted request is rejected. The request is not stored."""

import re
from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from accounts.access.decorators import customer
from accounts.models import User
from apikeys.debugger import presenter, request_parser
from apikeys.debugger.diagnosis import Diagnosis
from apikeys.debugger.forms import MAX_SHORT_LENGTH, DebuggerForm
from apikeys.debugger.session import DebuggerSession, SendDetails, keys_of, known_of, named_key_ids
from apikeys.models import ApiKey, Refusal
from apikeys.policy.choices import Permission
from hitobit_portal.http import error_pages
from hitobit_portal.http.context import address_of
from hitobit_portal.security.ratelimits import Rate, acquire

SHORT = ("key", "permission", "sent", "address")
#: Longer than any spelling of a secret; longer values are neither searched nor kept.
MAX_SEARCHED_LENGTH = 1000


@never_cache
@sensitive_post_parameters("request", "body")
@require_http_methods(["GET", "HEAD", "POST"])
def debugger(request: HttpRequest) -> HttpResponse:
    """Show the form, and below it the diagnosis of the pasted request."""
    user = customer(request)
    if request.method != "POST":
        refusal = _chosen_rejection(request, user)
        keys = keys_of(user, [refusal.key.key_id] if refusal else [])
        initial = known_of(refusal) if refusal else {"key": request.GET.get("key", "")}
        return _page(request, DebuggerForm(keys=keys, initial=initial), keys, refusal=refusal)
    wait = acquire(Rate.DEBUGGER, str(user.pk))
    if wait is not None:
        return error_pages.too_many(request, wait)
    return _diagnose(request, user)


def _chosen_rejection(request: HttpRequest, user: User) -> Refusal | None:
    """Return the customer's rejection that the page was opened from; None if there is none."""
    number = request.GET.get("refusal", "")
    if not re.fullmatch("[0-9]{1,18}", number):
        return None
    # SECURITY: only rejections of the customer's own keys; others are like ones that do not exist.
    return Refusal.objects.select_related("key").filter(pk=int(number), key__owner=user).first()


@sensitive_variables()
def _diagnose(request: HttpRequest, user: User) -> HttpResponse:
    typed = _typed(request)
    session = DebuggerSession(user, named_key_ids(typed["request"], typed["body"]))
    typed, exposed_keys = session.mask(typed)
    for name in ("sent", "address"):
        # SECURITY: cut only after masking: a part of a secret would not be recognised.
        typed[name] = typed[name][: MAX_SHORT_LENGTH + 1]
    form = DebuggerForm(typed, keys=session.keys)
    if not form.is_valid() and form.is_too_long:
        form.data = {**typed, "request": ""}
    parsed_request = form.parsed_request
    if others := session.find_unmasked(typed.values(), parsed_request):
        return _show_nothing(request, session, [*exposed_keys, *others])
    if parsed_request is None or not form.is_valid():
        return _page(request, form, session.keys, exposed_keys=exposed_keys)
    key = session.choose_key(parsed_request, form.chosen_id)
    if key is None:
        form.add_error("key", _("The request names none of your keys. Choose the key that it is for."))
        return _page(request, form, session.keys, exposed_keys=exposed_keys)
    form.data = {**typed, "key": str(key.pk)}
    address = form.cleaned_data["address"]
    details = SendDetails(
        address or address_of(request),
        bool(address),
        form.cleaned_data["permission"],
        form.cleaned_data["sent"],
    )
    session_result = session.diagnose(parsed_request, key, details, has_secret=bool(exposed_keys))
    if others := session.find_revealed(session_result):
        return _show_nothing(request, session, [*exposed_keys, *others])
    result = _result(parsed_request, session_result.diagnosis)
    permission = session_result.situation.permission
    result["permission"] = Permission(permission).label if permission else ""
    at_given = session_result.situation.at_given
    return _page(request, form, session.keys, exposed_keys=exposed_keys, key=key, at_given=at_given, **result)


def _typed(request: HttpRequest) -> dict[str, str]:
    """Return the submitted values; a value that is too long is replaced by a placeholder that is too long as well."""
    typed = {name: request.POST.get(name, "") for name in ("request", "body", *SHORT)}
    texts = (typed["request"], typed["body"])
    if (
        sum(map(len, texts)) > request_parser.MAX_BYTES
        or request_parser.byte_size(*texts) > request_parser.MAX_BYTES
    ):
        typed |= {"request": "-" * (request_parser.MAX_BYTES + 1), "body": ""}
    for name in SHORT:
        if len(typed[name]) > MAX_SEARCHED_LENGTH:
            typed[name] = "-" * (MAX_SHORT_LENGTH + 1)
    return typed


def _show_nothing(
    request: HttpRequest, session: DebuggerSession, exposed_keys: Sequence[ApiKey]
) -> HttpResponse:
    """Show an empty form.

    SECURITY: if a secret cannot be masked letter by letter, nothing of the input is shown.
    """
    return _page(
        request, DebuggerForm(keys=session.keys), session.keys, exposed_keys=list(dict.fromkeys(exposed_keys))
    )


def _result(parsed_request: request_parser.ParsedRequest, diagnosis: Diagnosis) -> dict[str, Any]:
    causes = [presenter.cause_text(cause) for cause in diagnosis.causes]
    compared = None if diagnosis.signed is None else presenter.differing(diagnosis.payload, diagnosis.signed)
    return {
        "diagnosis": diagnosis,
        "headline": causes[0] if causes else None,
        "more_causes": causes[1:],
        "doubts": [presenter.cause_text(cause) for cause in diagnosis.doubts],
        "hints": [presenter.cause_text(cause) for cause in diagnosis.hints],
        "checks": [presenter.check_line(check) for check in diagnosis.checks],
        "segments": presenter.segments(diagnosis.payload),
        "compared": compared,
        "signed_length": len(diagnosis.signed or b""),
        "cut": any(presenter.is_cut(payload) for payload in (diagnosis.payload, diagnosis.signed or b"")),
        "dump": presenter.dump(diagnosis.payload),
        "dump_cut": len(diagnosis.payload) > presenter.DUMPED_BYTES,
        "method": presenter.visible(parsed_request.method),
        "places": [
            (name, presenter.segments(value), len(value))
            for name, value in ((_("Query string"), parsed_request.query), (_("Body"), parsed_request.body))
        ],
        "skew": presenter.skew(diagnosis),
        "sent_at": presenter.sent_at(diagnosis),
        "recv_window_ms": (diagnosis.recv_window_us or 0) // 1000,
        "path": presenter.visible(parsed_request.path)[:300],
    }


def _page(
    request: HttpRequest,
    form: DebuggerForm,
    keys: Sequence[ApiKey],
    *,
    exposed_keys: Sequence[ApiKey] = (),
    **result: Any,
) -> HttpResponse:
    details = ("body", "sent", "address", "permission")
    context = {
        "form": form,
        "has_keys": bool(keys),
        "exposed_keys": exposed_keys,
        "opened": any(
            form.data.get(name) or form.initial.get(name) or form.errors.get(name) for name in details
        ),
        **result,
    }
    return render(request, "apikeys/debugger.html", context)
