"""Delivery log: the result of each message at each provider, in the database; never its text, code or whole number."""

import logging
import re

from django.db import transaction

from accounts.models import SmsDelivery
from accounts.sms.numbers import masked

logger = logging.getLogger("portal.sms")
IDENTIFIER = re.compile(r"[A-Za-z0-9._:-]{1,64}")


#: Characters of the GSM alphabet that take one septet; a text with any other character is sent as UCS-2 (3GPP TS
#: 23.038).
GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)


def count_parts(text: str) -> int:
    """Return the number of charged parts: 160 characters, or 153 a part; for Persian text 70, or 67 a part."""
    if set(text) <= GSM:
        length, single, part = len(text), 160, 153
    else:
        length, single, part = len(text.encode("utf-16-le")) // 2, 70, 67
    return 1 if length <= single else -(-length // part)


def masked_number(phone: str) -> str:
    """Return ``phone`` as rows have it: the number of a customer is compared with theirs in this form only."""
    return masked(phone)[:16]


def record(
    backend: str,
    phone: str,
    *,
    purpose: str,
    spoken: bool,
    error: str,
    duration: float,
    identifier: object,
    parts: int = 1,
) -> None:
    """Store one row. ``error``: "" if the message was accepted; ``duration``: seconds; ``identifier``: the provider's
    message id.

    Every error is logged and suppressed: the message has been sent, and the caller must not undo that.
    """
    reference = identifier if isinstance(identifier, str) and IDENTIFIER.fullmatch(identifier) else ""
    try:
        # A savepoint: within a transaction of the caller, a failure here rolls back to this point only.
        with transaction.atomic():
            SmsDelivery.objects.create(
                backend=backend[:80],
                purpose=purpose[:32],
                number=masked_number(phone),
                spoken=spoken,
                succeeded=not error,
                error=error[:40],
                took_ms=int(duration * 1000),
                reference=reference,
                parts=parts,
            )
    except Exception as failure:
        logger.error("SMS delivery not recorded: %s", type(failure).__name__)
