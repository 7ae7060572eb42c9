"""Webhook for your own SMS gateway: POSTs JSON ``{"to", "text", "purpose", "reference"}`` to ``PORTAL_SMS_HTTP_URL``.

``to`` is E.164. The request has the header ``Authorization: Bearer PORTAL_SMS_HTTP_TOKEN``, and ``Idempotency-Key``
if there is a reference. The gateway responds with 2xx and ``{"id": "..."}``; every other response is a failure.
"""

from django.conf import settings

from accounts.sms import http_client
from accounts.sms.errors import ProviderError

REQUIRED = ("SMS_HTTP_URL", "SMS_HTTP_TOKEN")
MESSAGE_REFUSED = 422  # the gateway works and refuses this one message


def send(phone: str, text: str, *, code: str, purpose: str, reference: str) -> str:
    """Return the gateway's id of the message. Raise `ProviderError`."""
    headers = {"Authorization": f"Bearer {settings.SMS_HTTP_TOKEN}"}
    if reference:
        headers["Idempotency-Key"] = reference
    message = {"to": phone, "text": text, "purpose": purpose, "reference": reference}
    response = http_client.post(settings.SMS_HTTP_URL, headers=headers, json=message)
    if response.status >= 300:
        raise ProviderError(f"HTTP {response.status}", is_message_fault=response.status == MESSAGE_REFUSED)
    identifier = response.path_value("id")
    if not isinstance(identifier, str | int) or identifier in ("", True, False):
        # A captive portal or a wrong address responds with 200 too; an undelivered code must not count as sent.
        raise ProviderError(f"HTTP {response.status}, not understood")
    return str(identifier)
