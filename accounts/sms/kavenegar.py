"""Kavenegar (REST, version 1): messages by ``sms/send``, spoken codes by ``call/maketts``.

It responds with ``{"return": {"status": 200}, "entries": [{"messageid": ..., "status": ...}]}``; ``return.status``
decides.
"""

import hashlib
from urllib.parse import quote

from django.conf import settings

from accounts.sms import http_client
from accounts.sms.errors import ProviderError
from accounts.sms.numbers import national

REQUIRED = ("KAVENEGAR_API_KEY",)
ACCEPTED = 200
#: Receiver, length, a link in the text, a character: errors of this message only, which a customer may have caused.
MESSAGE_REFUSED = frozenset({411, 413, 420, 422})
#: Status of an entry: failed, undelivered, cancelled, blocked by the receiver.
ENTRY_REFUSED = frozenset({6, 11, 13, 14})


def send(phone: str, text: str, *, code: str, purpose: str, reference: str) -> str:
    """Return Kavenegar's id of the message. Raise `ProviderError`."""
    fields = {"receptor": national(phone), "message": text, **_local_id(reference)}
    if settings.KAVENEGAR_SENDER:  # without it, the account's own line is the sender
        fields["sender"] = settings.KAVENEGAR_SENDER
    return _post("sms/send.json", fields)


def speak(phone: str, text: str, *, code: str, purpose: str, reference: str) -> str:
    """Read the code out by a call. Return Kavenegar's id of it. Raise `ProviderError`."""
    fields = {"receptor": national(phone), "message": text, **_local_id(reference)}
    return _post("call/maketts.json", fields)


def _local_id(reference: str) -> dict[str, str]:
    """Kavenegar sends nothing twice for one ``localid``, an integer. 53 bits, which every JSON parser preserves."""
    if not reference:
        return {}
    digest = hashlib.sha256(reference.encode()).digest()
    return {"localid": str(int.from_bytes(digest[:8], "big") >> 11)}


def _post(method: str, fields: dict[str, str]) -> str:
    # SECURITY: the key is part of the path: `http_client` reveals no URL, and settings.LOGGING silences httpx.
    key = quote(settings.KAVENEGAR_API_KEY, safe="")
    response = http_client.post(f"{settings.KAVENEGAR_URL}/v1/{key}/{method}", headers={}, data=fields)
    status = response.path_value("return", "status")
    if status != ACCEPTED:
        raise http_client.rejection_error(response, status, MESSAGE_REFUSED)
    entry = response.path_value("entries", 0, "status")
    if isinstance(entry, int) and entry in ENTRY_REFUSED:
        raise ProviderError(f"message status {entry}", is_message_fault=True)
    return str(response.path_value("entries", 0, "messageid") or "")
