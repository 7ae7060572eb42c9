"""``manage.py webhook``: what each action does, prints and leaves in the trail."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.models import AuditEvent, WebhookDelivery, WebhookEndpoint

pytestmark = pytest.mark.django_db
URL = "https://hooks.example.com/portal-1f7c"


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("webhook", *arguments, stdout=out)
    return out.getvalue()


def as_json(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


@pytest.fixture
def secret() -> str:
    secret: str = as_json("create", "risk", URL, "--events", "key.*,login")["secret"]
    return secret


def test_secret_is_printed_once_and_stored_sealed(secret: str) -> None:
    assert secret.startswith("whsec_")
    endpoint = WebhookEndpoint.objects.get()
    assert endpoint.secrets(timezone.now()) == [secret]
    for text in (run("list"), run("list", "--json"), run("deliveries", "risk")):
        assert secret.removeprefix("whsec_") not in text
    event = AuditEvent.objects.get(event="webhook.made")
    assert (event.label, event.target, event.detail["via"]) == ("risk", str(endpoint.pk), "command")
    for hidden in (secret, "1f7c"):
        assert hidden not in json.dumps(event.detail)


def test_filter_and_address_are_changed_and_sending_is_paused(secret: str) -> None:
    changed = as_json("update", "risk", "--events", "*", "--pause")
    assert (changed["events"], changed["active"]) == (["*"], False)
    assert as_json("update", "risk", "--resume", "--url", "https://other.example.com/")["active"]
    assert WebhookDelivery.objects.get().url == URL, "the old address is told"
    names = AuditEvent.objects.filter(event__startswith="webhook.").order_by("pk")
    assert [event.event for event in names] == [
        "webhook.made", "webhook.changed", "webhook.moved", "webhook.changed",
    ]  # fmt: skip


def test_rotation_prints_a_new_secret_and_keeps_the_old_one_for_a_day(secret: str) -> None:
    new = run("rotate", "risk").strip()
    endpoint = WebhookEndpoint.objects.get()
    assert endpoint.secrets(timezone.now()) == [new, secret]
    run("rotate", "risk", "--hours", "0")
    endpoint.refresh_from_db()
    assert len(endpoint.secrets(timezone.now())) == 1


def test_given_up_messages_are_listed_and_sent_again(secret: str) -> None:
    run("test", "risk")
    endpoint = WebhookEndpoint.objects.get()
    event = AuditEvent.objects.get(event="webhook.tested")
    row = WebhookDelivery.objects.create(
        endpoint=endpoint, event=event, number=1, attempts=14, status=500, gave_up_at=timezone.now()
    )
    WebhookDelivery.objects.create(
        endpoint=endpoint, event=event, number=2, attempts=1, status=200, delivered_at=timezone.now()
    )
    assert "given up" in run("deliveries", "risk", "--given-up")
    assert [each["number"] for each in as_json("deliveries", "risk", "--given-up")] == [1]
    assert as_json("resend", "risk", "--given-up")["resent"] == 1
    assert as_json("resend", "risk", "--message", row.message_id)["resent"] == 0, "it waits already"
    row.refresh_from_db()
    assert (row.gave_up_at, row.attempts) == (None, 0)
    assert "waits" in run("deliveries", "risk")


def test_deleted_webhook_is_gone_with_its_deliveries(secret: str) -> None:
    as_json("update", "risk", "--url", "https://other.example.com/")
    assert as_json("delete", "risk") == {"name": "risk", "deleted": True}
    assert not WebhookEndpoint.objects.exists()
    assert not WebhookDelivery.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("create", "risk", URL, "--events", "*"), 1),
        (("create", "other", "http://hooks.example.com/", "--events", "*"), 1),
        (("create", "other", URL, "--events", "key.*,nothing"), 2),
        (("create", "other", URL, "--events", ","), 2),
        (("create", "x" * 65, URL, "--events", "*"), 2),
        (("update", "risk"), 2),
        (("update", "other", "--pause"), 1),
        (("rotate", "other"), 1),
        (("rotate", "risk", "--hours", "-1"), 2),
        (("rotate", "risk", "--hours", "721"), 2),
        (("rotate", "risk", "--hours", "999999999999"), 2),
        (("test", "other"), 1),
        (("deliveries", "other"), 1),
        (("resend", "risk"), 2),
        (("resend", "risk", "--message", "msg_x"), 2),
        (("resend", "risk", "--message", "msg_" + "0" * 32), 1),
        (("resend", "risk", "--given-up", "--message", "msg_" + "0" * 32), 2),
        (("delete", "other"), 1),
    ],
)
def test_wrong_use_is_refused(secret: str, arguments: tuple[str, ...], code: int) -> None:
    before = AuditEvent.objects.count()
    with pytest.raises(CommandError) as refused:
        run(*arguments)
    assert refused.value.returncode == code
    assert AuditEvent.objects.count() == before
