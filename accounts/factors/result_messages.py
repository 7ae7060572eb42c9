"""Messages for the results of codes. One sentence for every rejection does not reveal which code was wrong."""

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.factors.lockout import PERMANENT
from accounts.factors.sms_codes import SendResult, SendStatus
from accounts.factors.verification import VerificationOutcome, VerificationResult
from hitobit_portal.i18n.bidi import fill
from hitobit_portal.i18n.fields import not_served
from hitobit_portal.i18n.jalali import digits


def wait_text(seconds: int) -> str:
    minutes = -(-seconds // 60)
    return fill(ngettext("%(n)s minute", "%(n)s minutes", minutes), n=digits(minutes))


def for_spent_code(seconds: int) -> str:
    """Return what is said of the authenticator's code that was accepted last."""
    if seconds <= 0:
        return _("This authenticator code was already used. Enter the one that the app shows now.")
    return _(
        "This authenticator code was already used. Each code works once. Nothing was counted as a mistake."
    )


def for_two_codes(result: VerificationResult) -> str:
    if result.outcome is VerificationOutcome.SPENT:
        return for_spent_code(result.retry_after)
    if result.outcome is VerificationOutcome.LOCKED:
        if result.retry_after >= PERMANENT // 2:
            return _(
                "Codes are blocked after too many wrong ones. Ask support to reset your two-factor authentication."
            )
        return fill(_("Too many wrong codes. Try again in %(time)s."), time=wait_text(result.retry_after))
    return _(
        "The codes were not accepted. A digit may be wrong, the SMS code may be older than 2 minutes or not "
        "the newest, or the authenticator code may be used, of another account, or of a phone whose clock is "
        "wrong."
    )


def for_one_code(result: VerificationResult) -> str:
    if result.outcome in (VerificationOutcome.LOCKED, VerificationOutcome.SPENT):
        return for_two_codes(result)
    return _("The code was not accepted. Each code works once: wait for the next one and try again.")


def for_sending(sent: SendResult) -> str | None:
    """Return why no code was sent, None if a code is on its way."""
    if sent.state is SendStatus.FAILED:
        return _("The SMS could not be sent. Nothing was changed. Try again with the button below.")
    if sent.state is SendStatus.SENT_TO_OTHER_LOGIN:
        return _(
            "A code was just sent for another login and works only there. Request one for this login "
            "when the countdown ends. If the other login is not yours, change your password."
        )
    if sent.state is SendStatus.LOGIN_ENDED:
        return _("This login has ended. Log in again.")
    if sent.state is SendStatus.NOT_SERVED:
        return not_served()
    if sent.state is SendStatus.CAPPED:
        return fill(
            _("Too many SMS requests. Try again in %(time)s."), time=wait_text(sent.seconds_until_resend)
        )
    return None
