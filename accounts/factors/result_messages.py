"""What a person is told about codes; one sentence for every refusal, so that it tells nothing about which was wrong."""

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.factors.lockout import FOREVER
from accounts.factors.sms_codes import Sending, Sent
from accounts.factors.verification import Outcome, Result
from hitobit_portal.i18n.fields import not_served
from hitobit_portal.i18n.jalali import digits


def wait_text(seconds: int) -> str:
    minutes = -(-seconds // 60)
    return ngettext("%(n)s minute", "%(n)s minutes", minutes) % {"n": digits(minutes)}


def of_result(result: Result) -> str:
    if result.outcome is Outcome.LOCKED:
        if result.retry_after >= FOREVER // 2:
            return _("Codes are blocked after too many wrong ones. Ask support to reset your second factors.")
        return _("Too many wrong codes. Try again in %(time)s.") % {"time": wait_text(result.retry_after)}
    return _(
        "The codes were not accepted. Each code works once: wait for the next one, or ask for a new SMS."
    )


def of_one(result: Result) -> str:
    if result.outcome is Outcome.LOCKED:
        return of_result(result)
    return _("The code was not accepted. Each code works once: wait for the next one and try again.")


def of_sending(sent: Sent) -> str | None:
    """What went wrong with the sending; None when a code is under way."""
    if sent.state is Sending.FAILED:
        return _("The SMS could not be sent. Nothing was changed; try again with the button below.")
    if sent.state is Sending.ELSEWHERE:
        return _(
            "A code was sent a moment ago for another login, and counts only there. Ask for one for this login when "
            "the countdown ends. If the other login is not yours, change your password."
        )
    if sent.state is Sending.OVER:
        return _("This login has ended. Log in again.")
    if sent.state is Sending.NOT_SERVED:
        return not_served()
    if sent.state is Sending.CAPPED:
        return _("Too many SMS were asked for. Try again in %(time)s.") % {"time": wait_text(sent.resend_in)}
    return None
