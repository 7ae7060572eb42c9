"""Any gateway of one's own: POSTs JSON ``{"to", "text", "purpose", "reference"}`` to ``PORTAL_SMS_HTTP_URL``.

``to`` is E.164. The header ``Authorization: Bearer PORTAL_SMS_HTTP_TOKEN`` goes with it, and ``Idempotency-Key`` where
there is a reference. The gateway answers 2xx with ``{"id": "..."}``; whatever else it answers is a failure.
"""

from django.conf import settings

from accounts.sms import http_client
from accounts.sms.errors import ProviderError

REQUIRED = ("SMS_HTTP_URL", "SMS_HTTP_TOKEN")
MESSAGE_REFUSED = 422  # the gateway works and will not take this one message


def send(phone: str, text: str, *, code: str, purpose: str, reference: str) -> str:
    """Returns the gateway's id of the message. Raises `ProviderError`."""
    headers = {"Authorization": f"Bearer {settings.SMS_HTTP_TOKEN}"}
    if reference:
        headers["Idempotency-Key"] = reference
    message = {"to": phone, "text": text, "purpose": purpose, "reference": reference}
    response = http_client.post(settings.SMS_HTTP_URL, headers=headers, json=message)
    if response.status >= 300:
        raise ProviderError(f"HTTP {response.status}", is_message_fault=response.status == MESSAGE_REFUSED)
    identifier = response.path_value("id")
    if not isinstance(identifier, str | int) or identifier in ("", True, False):
        # A captive portal or a wrong address answers 200 as well; a code that nobody got must not count as sent.
        raise ProviderError(f"HTTP {response.status}, not understood")
    return str(identifier)
