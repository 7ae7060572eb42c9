"""A key that the exchange requested: the customer sees what it could do, and confirms with both codes or declines."""

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access.decorators import customer
from accounts.factors.views import ApprovalPage, two_code_page
from apikeys.actions import key_requests
from apikeys.models import ApiKey, KeyLimitReached, KeyRequest
from apikeys.pages import presenters, session_state
from apikeys.pages.forms import taken_text
from apikeys.pages.key_settings import reveal_once
from apikeys.pages.ownership import own_key
from apikeys.policy import account_freeze, key_terms
from apikeys.policy.choices import KeyState
from hitobit_portal.i18n.bidi import fill
from hitobit_portal.i18n.free_text import plain
from hitobit_portal.i18n.jalali import date_local


@require_safe
def key_request(request: HttpRequest, request_pk: int) -> HttpResponse:
    """Show who requested the key and exactly what it could do; as long as it waits, with both answers."""
    row = _own_request(request, request_pk)
    context = {"requested": row, "state": row.current_state, "terms": key_terms.terms(row.settings)}
    return render(request, "apikeys/key_request.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def confirm(request: HttpRequest, request_pk: int) -> HttpResponse:
    """Both codes create the key with its settings: exactly what the page and the SMS show."""
    user, row = customer(request), _own_request(request, request_pk)
    wizard = session_state.begin_request(request, row)
    created = ApiKey.objects.filter(owner=user, wizard=wizard)
    is_second_click = request.method == "POST" and created.exists()
    if not row.is_waiting and not is_second_click:
        return _answered(request, row)
    page = ApprovalPage(
        key_requests.approval(row),
        title=row.label,
        back=reverse("key_request", args=[row.pk]),
        operation=_("Create API"),
        facts=[
            (_("Key name"), row.label, False),
            (_("Requested by"), _requested_by(row), False),
            (_("Answer by"), date_local(row.waits_until), False),
        ],
        sentence=fill(_("creating the API “%(name)s”, which Hitobit requested"), name=plain(row.label)),
        changes=key_terms.changes(row.settings),
        is_key=True,
        sends_first=True,
    )

    def done(key: ApiKey) -> HttpResponse:
        session_state.request_confirmed(request, key)
        return redirect("key_made", key.pk)

    try:
        account_freeze.check_not_frozen(user)  # before an SMS is sent
        return two_code_page(
            request,
            page,
            effect=lambda: key_requests.confirm(request, row, wizard),
            done=done,
            # SECURITY: the key of this session's attempt. Another session of the customer, which typed no codes, must
            # not see the secret because the request is confirmed.
            already_done=created.first,
        )
    except KeyLimitReached:
        messages.error(request, _("You have reached the maximum number of keys. Delete one first."))
    except IntegrityError:
        messages.error(request, taken_text())
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    return redirect("key_request", row.pk)


def _answered(request: HttpRequest, row: KeyRequest) -> HttpResponse:
    """Redirect after back, refresh or a second click: to the key that this session created, or to the answer."""
    created = session_state.created_key(request)
    if row.key_id and created == str(row.key_id):
        return redirect("key_made", created)
    messages.info(request, " ".join(key_requests.NoLongerWaiting().messages))
    return redirect("key_request", row.pk)


@require_http_methods(["GET", "HEAD", "POST"])
def decline(request: HttpRequest, request_pk: int) -> HttpResponse:
    """Decline the request. No codes: nothing is created."""
    row = _own_request(request, request_pk)
    if request.method == "POST":
        if key_requests.decline(request, row):
            messages.success(request, _("Refused. No key was created."))
            return redirect("dashboard")
        messages.info(request, " ".join(key_requests.NoLongerWaiting().messages))
    return redirect("key_request", row.pk)


@never_cache
@require_safe
def key_made(request: HttpRequest, pk: str) -> HttpResponse:
    """Show the key of a confirmed request and, once, its secret: only in the session that typed the codes."""
    key = own_key(request, pk)
    if session_state.created_key(request) != str(key.pk) or key.state != KeyState.ACTIVE:
        return redirect("key_detail", key.pk)
    secret = reveal_once(request, key) if request.method == "GET" else None
    context = {
        "key": key,
        "secret": secret,
        "terms": key_terms.terms(key.settings),
        "steps": {} if key.last_used_at else presenters.first_steps(key),
    }
    return render(request, "apikeys/key_made.html", context)


def _requested_by(row: KeyRequest) -> str:
    return fill(_("Hitobit (%(program)s)"), program=plain(row.requested_by))


def _own_request(request: HttpRequest, request_pk: int) -> KeyRequest:
    row = KeyRequest.objects.filter(owner=customer(request), pk=request_pk).first()
    if row is None:
        raise Http404
    return row
