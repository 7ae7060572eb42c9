"""``prune`` removes what is over, and nothing that is not."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from accounts.choices.events import Event
from accounts.models import AuditEvent, Invitation, SmsDelivery
from accounts.operations import retention
from apikeys.models import DailyUse, Refusal
from tests.support import people

pytestmark = pytest.mark.django_db


def pruned(*arguments: str) -> Any:
    out = StringIO()
    call_command("prune", "--json", *arguments, stdout=out)
    return json.loads(out.getvalue())["removed"]


def test_rows_go_on_the_day_after_their_last_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    key, now = people.key_of(people.customer()), timezone.now()
    for days in (0, 89, 91, 92, 93):
        Refusal.objects.create(key=key, outcome="signature", at=now - timedelta(days=days))
    for days in (399, 402):
        DailyUse.objects.create(key=key, outcome="allowed", day=(now - timedelta(days=days)).date())
    SmsDelivery.objects.create(
        backend="b", purpose="p", number="n", succeeded=True, at=now - timedelta(days=181)
    )
    Invitation.objects.create(phone="+989121111111", expires_at=now - timedelta(days=29))
    wanted = dict.fromkeys(retention.RETENTION, 0)
    wanted |= {"refusals": 3, "daily counts": 1, "SMS deliveries": 1}
    assert pruned("--dry-run") == wanted
    assert Refusal.objects.count() == 5
    assert pruned() == wanted
    assert (Refusal.objects.count(), DailyUse.objects.count(), Invitation.objects.count()) == (2, 1, 1)
    assert AuditEvent.objects.get(event=Event.PRUNED.value).detail["removed"]["refusals"] == 3
    assert set(pruned().values()) == {0}
    assert AuditEvent.objects.filter(event=Event.PRUNED.value).count() == 1


def test_terminal_shows_how_much_of_all_kinds_is_removed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    key, now = people.key_of(people.customer()), timezone.now()
    for days in (91, 92, 93):
        Refusal.objects.create(key=key, outcome="signature", at=now - timedelta(days=days))
    DailyUse.objects.create(key=key, outcome="allowed", day=(now - timedelta(days=402)).date())
    pruned("--dry-run")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    pruned()
    bars = capsys.readouterr().err
    assert [bar.partition("] ")[2].strip() for bar in bars.split("\r")[1:]] == ["2 of 4", "3 of 4", "4 of 4"]
    assert bars.endswith("\n")
