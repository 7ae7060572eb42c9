"""What changes an endpoint: each change is an event, and a secret is returned once."""

import base64
import secrets
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils import timezone

from accounts import audit
from accounts.choices.events import Event
from accounts.models import AuditHead, User, WebhookDelivery, WebhookEndpoint
from accounts.webhooks import outbox
from accounts.webhooks.transport import url_problem
from hitobit_portal.security import crypto

#: Each has threads of its own in a sender.
MAX_ENDPOINTS = 20
SECRET_PREFIX = "whsec_"  # nosec B105
SECRET_BYTES = 32
MAX_OVERLAP = timedelta(days=30)


class EndpointError(Exception):
    """The change is refused; the message says why, without the address."""


def create(name: str, url: str, events: list[str], **by: Any) -> tuple[WebhookEndpoint, str]:
    """Create an endpoint that is told of events from now on. Return it and its secret. Raise `EndpointError`."""
    _check_url(url)
    with transaction.atomic():
        if WebhookEndpoint.objects.count() >= MAX_ENDPOINTS:
            raise EndpointError(f"There are {MAX_ENDPOINTS} webhooks already.")
        head = AuditHead.objects.only("sequence").first()
        endpoint = WebhookEndpoint(name=name, url=url, events=events, sequence=head.sequence if head else 0)
        secret = _new_secret()
        endpoint.secret_sealed = crypto.seal(secret.encode(), endpoint.seal_owner)
        try:
            with transaction.atomic():
                endpoint.save(force_insert=True)
        except IntegrityError:
            raise EndpointError("There is a webhook with this name.") from None
        _record(Event.WEBHOOK_MADE, endpoint, new=endpoint.host, events=events, **by)
    return endpoint, secret


def change(
    name: str,
    *,
    url: str | None = None,
    events: list[str] | None = None,
    is_active: bool | None = None,
    **by: Any,
) -> WebhookEndpoint:
    """Change an endpoint. A new address is told to the old one. Raise `EndpointError`."""
    if url is not None:
        _check_url(url)
    with transaction.atomic():
        endpoint = _locked(name)
        if url is not None and url != endpoint.url:
            _move(endpoint, url, by)
        changes: dict[str, Any] = {}
        if events is not None and events != endpoint.events:
            endpoint.events = changes["events"] = events
        if is_active is not None and is_active != endpoint.is_active:
            endpoint.is_active = changes["active"] = is_active
        if changes:
            endpoint.save(update_fields=["events", "is_active"])
            _record(Event.WEBHOOK_CHANGED, endpoint, **changes, **by)
    return endpoint


def _move(endpoint: WebhookEndpoint, url: str, by: dict[str, Any]) -> None:
    old, old_host, endpoint.url = endpoint.url, endpoint.host, url
    endpoint.save(update_fields=["url"])
    event = _record(Event.WEBHOOK_MOVED, endpoint, old=old_host, new=endpoint.host, **by)
    # SECURITY: whoever gets all events moved to a server of their own must not do it quietly. The new address is told
    # of it as of every event.
    WebhookDelivery.objects.create(endpoint=endpoint, event=event, url=old)


def rotate(name: str, overlap: timedelta, **by: Any) -> str:
    """Give an endpoint a new secret and return it; the old one signs too for ``overlap``. Raise `EndpointError`."""
    with transaction.atomic():
        endpoint = _locked(name)
        secret = _new_secret()
        endpoint.old_secret_sealed = endpoint.secret_sealed if overlap else ""
        endpoint.old_secret_until = timezone.now() + overlap if overlap else None
        endpoint.secret_sealed = crypto.seal(secret.encode(), endpoint.seal_owner)
        endpoint.save(update_fields=["secret_sealed", "old_secret_sealed", "old_secret_until"])
        until = endpoint.old_secret_until.isoformat() if endpoint.old_secret_until else ""
        _record(Event.WEBHOOK_ROTATED, endpoint, until=until, **by)
    return secret


def delete(name: str, **by: Any) -> None:
    """Delete an endpoint with its deliveries. Raise `EndpointError`."""
    with transaction.atomic():
        endpoint = _locked(name)
        _record(Event.WEBHOOK_DELETED, endpoint, old=endpoint.host, **by)
        endpoint.delete()


def send_test(endpoint: WebhookEndpoint, request: HttpRequest | None = None, **by: Any) -> None:
    """Send a test event to ``endpoint``, in its turn and with a number, as any other."""
    _record(Event.WEBHOOK_TESTED, endpoint, request, **by)


def send_again(delivery: WebhookDelivery, request: HttpRequest | None = None, **by: Any) -> bool:
    """Send a delivery once more that was delivered or given up; False while it waits."""
    with transaction.atomic():
        again = outbox.send_again(delivery)
        if again:
            _record(Event.WEBHOOK_RESENT, delivery.endpoint, request, message=delivery.message_id, **by)
    return again


def _locked(name: str) -> WebhookEndpoint:
    endpoint = WebhookEndpoint.objects.select_for_update().filter(name=name).first()
    if endpoint is None:
        raise EndpointError("There is no such webhook. See 'webhook list'.")
    return endpoint


def _check_url(url: str) -> None:
    if problem := url_problem(url, settings.WEBHOOK_NETWORKS):
        raise EndpointError(f"The address is refused: {problem}.")


def _new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii")


def _record(
    event: Event,
    endpoint: WebhookEndpoint,
    request: HttpRequest | None = None,
    *,
    actor: User | None = None,
    **detail: Any,
) -> Any:
    return audit.record(
        event, request, customer=None, actor=actor, target=str(endpoint.pk), label=endpoint.name, **detail
    )
