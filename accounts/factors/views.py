"""The page on which both codes approve one action, for all kinds of actions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from accounts import sms
from accounts.access.decorators import customer
from accounts.choices.approvals import Approval, Change, ChangeRow
from accounts.factors import result_messages, sms_codes, verification
from accounts.factors.forms import TwoCodesForm
from accounts.factors.sms_codes import SendStatus
from accounts.factors.verification import Factor, VerificationOutcome
from hitobit_portal.http.context import address_of


@dataclass(frozen=True)
class ApprovalPage:
    """The content of the page. ``facts``: (label, value, whether it is left-to-right).

    ``changes``: what the sentence of the approval says part by part, ``rows``: the same as a table, if there are many;
    ``sentence`` replaces that sentence where it would say them a second time.

    ``kept``: fields of the previous form, which the page resends so that `accounts.access.form_drafts` has them if
    the session expires. ``sends_first``: no code was sent yet, and the page starts with a button that sends one.
    """

    approval: Approval
    title: str
    back: str
    operation: str
    facts: Sequence[tuple[str, str, bool]] = ()
    changes: Sequence[Change] = ()
    rows: Sequence[ChangeRow] = ()
    sentence: str = ""
    kept: Mapping[str, str] = field(default_factory=dict)
    is_key: bool = False
    sends_first: bool = False
    stepper: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


def two_code_page(
    request: HttpRequest,
    page: ApprovalPage,
    *,
    effect: Callable[[], Any],
    done: Callable[[Any], HttpResponse],
    already_done: Callable[[], Any] | None = None,
) -> HttpResponse:
    """Handle the two-code page. ``effect`` runs with the codes (`verification.verify`); ``done`` makes a response
    from its result.

    Exceptions of ``effect`` are passed to the caller.
    """
    if "resend" in request.POST or "speak" in request.POST:
        return resend_code(request, page.approval, spoken="speak" in request.POST)
    form = TwoCodesForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        codes = {Factor.SMS: form.cleaned_data["sms_code"], Factor.TOTP: form.cleaned_data["totp_code"]}
        result = verification.verify(
            request, customer(request), page.approval, codes, effect=effect, already_done=already_done
        )
        if result.outcome in (VerificationOutcome.ACCEPTED, VerificationOutcome.ALREADY_DONE):
            return done(result.value)
        if result.outcome is VerificationOutcome.SPENT:
            form.add_error("totp_code", result_messages.for_spent_code(result.retry_after))
            # The SMS code was neither judged nor used: only the next authenticator code has to be typed.
            return _render(request, form, page, typed=codes[Factor.SMS])
        form.add_error(None, result_messages.for_two_codes(result))
    return _render(request, form, page)


def resend_code(request: HttpRequest, approval: Approval, *, spoken: bool = False) -> HttpResponse:
    """Send a code for ``approval``, add a message with the result, and redirect to the same page."""
    sent = sms_codes.send_code(request, customer(request), approval, spoken=spoken)
    problem = result_messages.for_sending(sent)
    if problem:
        messages.error(request, problem)
    elif sent.state is SendStatus.WAITING:
        messages.info(
            request, _("A code was just sent. You can request another one when the countdown ends.")
        )
    elif sent.state is SendStatus.SENDING:
        messages.info(request, _("A new code is on its way. The previous code no longer works."))
    elif spoken:
        messages.success(
            request, _("You are getting a call with a new code. The previous code no longer works.")
        )
    else:
        messages.success(request, _("A new code was sent. The previous code no longer works."))
    return redirect(request.path)


def _render(request: HttpRequest, form: TwoCodesForm, page: ApprovalPage, typed: str = "") -> HttpResponse:
    """Render the page. ``typed``: the SMS code to keep; SECURITY: for the response to its own request, never stored."""
    user = customer(request)
    facts = [
        (_("Operation"), page.operation, False),
        *page.facts,
        (_("From IP"), address_of(request), True),
        (_("Codes are valid for"), _("2 minutes"), False),
    ]
    context = {
        "asked": page,
        "sentence": page.sentence or page.approval.sentence,
        "facts": facts,
        "form": form,
        "masked_phone": user.phone,
        "resend_in": sms_codes.seconds_until_resend(user, page.approval),
        "sent": sms_codes.is_code_pending(request, user, page.approval),
        "typed": typed,
        "totp_wait": verification.seconds_until_next_totp(user),
        "can_speak": sms.can_speak(),
        "sms_failed": request.session.pop("sms_failed", False),
        "sms_state": sms_codes.delivery_state(request, user, page.approval),
    }
    return with_sms_state(render(request, "accounts/two_codes.html", context), context)


def with_sms_state(response: HttpResponse, context: Mapping[str, Any]) -> HttpResponse:
    """Add the header from which the page learns what became of its message (static/js/smsstate.js)."""
    response["SMS-State"] = context["sms_state"] or "none"
    return response
