"""Bodies of webhooks: every registered event can be sent, nothing secret is in any, and docs/events.md is true."""

import json
import re
from typing import Any

import pytest

from accounts import audit
from accounts.audit import chain
from accounts.choices.events import all_events
from accounts.models import AuditEvent, WebhookDelivery, WebhookEndpoint
from accounts.webhooks import documents, filters
from tests.support import event_tables
from tests.support.people import customer


def body(event: AuditEvent, number: int = 1) -> Any:
    chain.seal_pending()
    delivery = WebhookDelivery(endpoint=WebhookEndpoint(name="risk"), event=event, number=number)
    return json.loads(documents.bodies([delivery])[delivery])


def test_document_of_events_is_the_registry() -> None:
    """`python -m tests.support.production .venv/bin/python -m tests.support.event_tables --write` makes it so."""
    text = event_tables.DOCUMENT.read_text(encoding="utf-8")
    assert event_tables.written_into(text) == text
    for event in all_events():
        assert f"| `{event.value}` |" in text


def test_example_in_the_document_has_the_members_of_a_body() -> None:
    text = event_tables.DOCUMENT.read_text(encoding="utf-8")
    example = re.search(r"```json\n(.*?)```", text, re.DOTALL)
    assert example
    data = json.loads(example[1])["data"]
    assert list(data) == [*documents.FIELDS, *documents.MORE]


@pytest.mark.django_db
def test_every_event_has_a_body_without_a_phone_and_with_listed_details_only() -> None:
    sara = customer()
    phone = sara.user.phone
    national = "0" + phone.removeprefix("+98")
    nasty: dict[str, Any] = {
        "reason": f"call {phone} or {national}",
        "text": phone,
        "operator": "root",
        "secret": "s3cr3t",
        "old": phone,
    }
    for kind in all_events():
        event = audit.record(
            kind, None, customer=sara.user, label=f"bot {national}", target=phone, via="page", **nasty
        )
        document = body(event)
        text = json.dumps(document, ensure_ascii=False)
        for hidden in (phone, phone[1:], national, phone[3:], "s3cr3t", "root"):
            assert hidden not in text, kind
        assert document["type"] == f"com.hitobit.portal.{kind.value}"
        assert list(document["data"]) == [*documents.FIELDS, *documents.MORE]
        assert "subject" not in document, "the customer has no external id"


@pytest.mark.django_db
def test_details_are_bounded() -> None:
    changes: list[Any] = [f"+203.0.113.{n}" for n in range(300)]
    event = audit.record(
        all_events()[0], None, customer=None, reason="x" * 5000, changes=[*changes, ["deep"]], what={"a": "b"}
    )
    detail = body(event)["data"]["detail"]
    assert (len(detail["reason"]), len(detail["changes"])) == (documents.MAX_TEXT, documents.MAX_LIST)
    assert detail["what"] is None


@pytest.mark.parametrize(
    ("patterns", "value", "is_match"),
    [
        (["*"], "key.created", True), (["key.*"], "key.created", True), (["key.*"], "keyring.made", False),
        (["key.created"], "key.created", True), (["key.created"], "key.created_again", False), ([], "login", False),
        (["login"], "login.limited", False), (["login.*"], "login", False),
    ],
)  # fmt: skip
def test_filter(patterns: list[str], value: str, is_match: bool) -> None:
    assert filters.matches(patterns, value) is is_match


@pytest.mark.parametrize("text", ["", ",", "key", "nothing.*", "key.*,x", "**", "key.created.*"])
def test_filter_that_matches_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (the text is the pattern)
        filters.parse(text)
