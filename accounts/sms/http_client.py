"""Requests to SMS providers: `hitobit_portal.http.outgoing`, with the errors of SMS back-ends."""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from accounts.sms.errors import ProviderError
from hitobit_portal.http import outgoing


@dataclass(frozen=True)
class ProviderResponse:
    """The response of a provider. ``content``: the decoded JSON, or None if the body is not JSON."""

    status: int
    content: object

    def path_value(self, *path: str | int) -> object:
        """Return the value at ``path`` in the content, None if the content has another shape."""
        value = self.content
        for step in path:
            if isinstance(step, str):
                value = value.get(step) if isinstance(value, dict) else None
            else:
                value = value[step] if isinstance(value, list) and len(value) > step else None
        return value


def post(url: str, *, headers: Mapping[str, str], **body: Any) -> ProviderResponse:
    """Send a POST request and return the response, whatever its status below 500. ``body``: ``data=`` (form) or
    ``json=``.

    Raise `ProviderError` with a class or a status if the response is late, too long, a redirect, or a server error.
    """
    reason = ""
    try:
        answer = outgoing.request("POST", url, headers=headers, **body)
    except outgoing.OutgoingError as error:
        reason = error.reason  # raised below, so that no traceback shows the frames of the request
    if reason:
        raise ProviderError(reason)
    return ProviderResponse(answer.status, answer.content)


def rejection_error(
    response: ProviderResponse, status: object, message_faults: Container[int]
) -> ProviderError:
    """Return the error for a response whose own ``status`` is not success, or is not a status at all."""
    if not isinstance(status, int) or isinstance(status, bool):
        return ProviderError(f"HTTP {response.status}, not understood")
    return ProviderError(f"status {status}"[:40], is_message_fault=status in message_faults)
