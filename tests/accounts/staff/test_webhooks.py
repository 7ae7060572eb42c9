"""Webhooks on the staff's pages: what they show, what they send, and what they never show or change."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEvent, WebhookDelivery, WebhookEndpoint
from accounts.webhooks import endpoints
from tests.support.staff import staff_browser

pytestmark = pytest.mark.django_db
LIST = "/admin/accounts/webhookendpoint/"
SECRET_PATH = "path-1f7c"


@pytest.fixture
def endpoint() -> WebhookEndpoint:
    made, secret = endpoints.create("risk", f"https://hooks.example.com/{SECRET_PATH}", ["key.*"])
    made.secret = secret  # type: ignore[attr-defined]
    return made


def delivery(endpoint: WebhookEndpoint, number: int, **values: Any) -> WebhookDelivery:
    values.setdefault(
        "event_id", AuditEvent.objects.filter(event="webhook.made").values_list("pk", flat=True)[0]
    )
    return WebhookDelivery.objects.create(endpoint=endpoint, number=number, **values)


def page_of(endpoint: WebhookEndpoint) -> str:
    return reverse("admin:accounts_webhookendpoint_change", args=[endpoint.pk])


def send(client: Any, endpoint: WebhookEndpoint, **fields: str) -> Any:
    return client.post(
        reverse("admin:accounts_webhookendpoint_send", args=[endpoint.pk]), fields, follow=True
    )


def test_pages_show_states_and_answers_and_neither_secret_nor_path(endpoint: WebhookEndpoint) -> None:
    now = timezone.now()
    delivery(endpoint, 1, attempts=1, status=204, delivered_at=now)
    delivery(endpoint, 2, attempts=14, error="Deadline", gave_up_at=now)
    delivery(endpoint, 3, attempts=2, status=503)
    delivery(endpoint, 4, event_id=10**9)
    client = staff_browser("security")
    pages = [client.get(path).content.decode() for path in (LIST, page_of(endpoint))]
    for page in pages:
        assert "hooks.example.com" in page
        assert SECRET_PATH not in page
        assert endpoint.secret.removeprefix("whsec_") not in page  # type: ignore[attr-defined]
        assert endpoint.secret_sealed not in page
    for text in ("204", "Deadline", "503"):
        assert text in pages[1]
    shown = {
        state: [
            row.delivery.number for row in client.get(f"{page_of(endpoint)}?state={state}").context["rows"]
        ]
        for state in ("", "waiting", "given-up", "nonsense")
    }
    assert shown == {"": [4, 3, 2, 1], "waiting": [4, 3], "given-up": [2], "nonsense": [4, 3, 2, 1]}
    [row] = client.get(LIST).context["endpoints"]
    assert (row.waiting, row.given_up) == (2, 1)


def test_test_event_is_recorded_with_who_sent_it(endpoint: WebhookEndpoint) -> None:
    send(staff_browser("security"), endpoint)
    event = AuditEvent.objects.get(event="webhook.tested")
    assert event.actor is not None
    assert (event.target, event.actor.name, event.detail) == (str(endpoint.pk), "security", {"via": "staff"})


def test_delivery_that_is_over_is_sent_again_once(endpoint: WebhookEndpoint) -> None:
    lost = delivery(endpoint, 1, attempts=14, status=500, gave_up_at=timezone.now())
    other, _secret = endpoints.create("other", "https://hooks.example.com/", ["*"])
    client = staff_browser("security")
    assert send(client, other, message=str(lost.pk)).status_code == 404, "it is of another endpoint"
    for message in ("x", str(lost.pk), str(lost.pk)):
        assert send(client, endpoint, message=message).status_code == 200
    lost.refresh_from_db()
    assert (lost.gave_up_at, lost.attempts) == (None, 0)
    [event] = AuditEvent.objects.filter(event="webhook.resent")
    assert event.detail == {"via": "staff", "message": lost.message_id}


def test_auditor_sees_and_sends_nothing(endpoint: WebhookEndpoint) -> None:
    lost = delivery(endpoint, 1, gave_up_at=timezone.now())
    client = staff_browser("auditor")
    assert "<form" not in client.get(page_of(endpoint)).content.decode().partition("<main")[2]
    assert send(client, endpoint, message=str(lost.pk)).status_code == 403
    assert WebhookDelivery.objects.get().gave_up_at is not None


def test_page_of_fifty_costs_no_more_queries_than_one(endpoint: WebhookEndpoint) -> None:
    client = staff_browser("security")
    counts = []
    for number in (1, 60):
        while WebhookDelivery.objects.count() < number:
            delivery(endpoint, WebhookDelivery.objects.count() + 1)
        with CaptureQueriesContext(connection) as queries:
            assert client.get(page_of(endpoint)).status_code == 200
        counts.append(len(queries))
    assert counts[1] <= counts[0]
