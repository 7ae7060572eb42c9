"""What became of each message at each provider, in the database: never its text, its code or the whole number."""

import logging
import re

from django.db import transaction

from accounts.models import SmsDelivery
from accounts.sms.numbers import masked

logger = logging.getLogger("portal.sms")
IDENTIFIER = re.compile(r"[A-Za-z0-9._:-]{1,64}")


#: Characters of the GSM alphabet that take one septet; with any other a message is UCS-2 (3GPP TS 23.038).
GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)


def count_parts(text: str) -> int:
    """How many messages providers charge for: 160 characters, or 153 a part; in Persian 70, or 67 a part."""
    if set(text) <= GSM:
        length, single, part = len(text), 160, 153
    else:
        length, single, part = len(text.encode("utf-16-le")) // 2, 70, 67
    return 1 if length <= single else -(-length // part)


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
    """One row. ``error``: "" when the message was taken; ``duration``: seconds; ``identifier``: the provider's, if any.

    Whatever goes wrong is logged and swallowed: the message is on its way, and its sender must not take that back.
    """
    reference = identifier if isinstance(identifier, str) and IDENTIFIER.fullmatch(identifier) else ""
    try:
        # A block of its own: in a transaction of the caller, a failure here rolls back to this point only.
        with transaction.atomic():
            SmsDelivery.objects.create(
                backend=backend[:80],
                purpose=purpose[:32],
                number=masked(phone)[:16],
                spoken=spoken,
                succeeded=not error,
                error=error[:40],
                took_ms=int(duration * 1000),
                reference=reference,
                parts=parts,
            )
    except Exception as failure:
        logger.error("an SMS delivery was not recorded: %s", type(failure).__name__)
