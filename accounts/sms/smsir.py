"""SMS.ir (version 1): ``send/bulk``. It responds with ``{"status": 1, "data": {"packId": ..., "messageIds":
[...]}}``.
"""

from django.conf import settings

from accounts.sms import http_client
from accounts.sms.numbers import national

REQUIRED = ("SMSIR_API_KEY", "SMSIR_LINE")
ACCEPTED = 1
MESSAGE_REFUSED = frozenset({104, 115})  # wrong number; number on the operators' block list


def send(phone: str, text: str, *, code: str, purpose: str, reference: str) -> str:
    """Return SMS.ir's id of the message. Raise `ProviderError`. The protocol has no field for ``reference``."""
    response = http_client.post(
        f"{settings.SMSIR_URL}/v1/send/bulk",
        headers={"X-API-KEY": settings.SMSIR_API_KEY},
        json={"lineNumber": settings.SMSIR_LINE, "messageText": text, "mobiles": [national(phone)]},
    )
    status = response.path_value("status")
    if response.status != 200 or status != ACCEPTED or status is True:  # True == 1, and another protocol
        raise http_client.rejection_error(response, status, MESSAGE_REFUSED)
    return str(response.path_value("data", "messageIds", 0) or response.path_value("data", "packId") or "")
