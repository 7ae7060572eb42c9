"""A session that ends, an SMS provider, a cache, a database that is down: nothing is allowed, half made or lost."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from accounts.models import SmsCode
from apikeys.models import ApiKey, Credential
from hitobit_portal.http import health
from tests.support import people, sms_collector
from tests.support.concurrency import WAIT_SECONDS, child_of, failure_counts
from tests.support.people import Person
from tests.support.servers import free_port
from tests.support.two_code_page import NAME, VERIFY, works

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("collected_sms")]


def test_settings_typed_in_an_expired_session_are_there_after_the_new_login(sara: Person) -> None:
    key = people.key_of(sara)
    browser = people.logged_in(sara)
    Session.objects.update(expire_date=timezone.now())
    typed = {"permissions": ["read", "trade"], "ip_policy": "trusted", "network": "192.0.2.1, nonsense"}
    page = f"/keys/{key.pk}/"
    sent = browser.post(page, {**typed, "sms_code": "123456"})
    assert sent.headers["Location"] == f"/login/?{urlencode({'next': page})}"
    person = people.with_password(sara)
    login = {"phone": sara.user.phone, "password": person.password, "next": page}
    browser.post(sent.headers["Location"], login)
    answer = browser.post("/login/second-factor/?method=totp", {"code": person.totp()})
    assert answer.headers["Location"] == page
    again = browser.get(page, follow=True)
    assert again.context["form"].initial["permissions"] == typed["permissions"]
    assert b"192.0.2.1, nonsense" in again.content
    assert b"123456" not in again.content
    assert b"nonsense" not in browser.get(f"{page}settings/").content


def test_an_sms_provider_that_is_down_is_told_and_can_be_tried_again(sara: Person) -> None:
    sms_collector.failing = True
    browser = people.logged_in(sara)
    assert browser.post("/keys/", {"name": NAME}).headers["Location"] == VERIFY
    assert browser.get(VERIFY).context["sms_failed"] is True
    assert not SmsCode.objects.exclude(digest="").exists()
    assert not ApiKey.objects.exists()
    assert browser.post(VERIFY, {"resend": "1"}).headers["Location"] == VERIFY
    assert b'role="alert"' in browser.get(VERIFY).content
    sms_collector.failing = False
    browser.post(VERIFY, {"resend": "1"})
    assert len(sms_collector.messages) == 1
    assert works(browser, sara)


def test_a_change_whose_message_failed_can_be_tried_again(sara: Person) -> None:
    key = people.key_of(sara)
    browser = people.logged_in(sara)
    sms_collector.failing = True
    browser.post(f"/keys/{key.pk}/", {"permissions": ["read", "trade"], "ip_policy": "unrestricted"})
    assert browser.get(f"/keys/{key.pk}/verify/").context["sms_failed"] is True
    assert ApiKey.objects.get().permissions == {"read"}
    sms_collector.failing = False
    browser.post(f"/keys/{key.pk}/verify/", {"resend": "1"})
    codes = {"sms_code": sms_collector.newest("key.change").code, "totp_code": sara.totp()}
    assert browser.post(f"/keys/{key.pk}/verify/", codes).status_code == 302
    assert ApiKey.objects.get().permissions == {"read", "trade"}


def test_without_the_cache_nothing_is_compared_sent_or_made(settings: Any) -> None:
    sara = people.with_password(people.customer())
    visitor = people.logged_in(sara)
    visitor.post("/keys/", {"name": NAME})
    codes = people.both_codes(sara)
    sent = len(sms_collector.messages)
    waiting = people.half_logged_in(sara)
    up = settings.CACHES
    down = f"redis://127.0.0.1:{free_port()}/0"
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": down}
    }
    SmsCode.objects.filter(purpose="login").delete()
    answers = [
        visitor.post(VERIFY, codes),
        visitor.post("/keys/", {"name": "other"}),
        waiting.post("/login/second-factor/?method=totp", {"code": codes["totp_code"]}),
        waiting.post("/login/second-factor/", {"switch": "sms"}),
        people.browser().post("/login/", {"phone": sara.user.phone, "password": sara.password}),
        people.browser().get("/readyz"),
    ]
    assert [answer.status_code for answer in answers] == [503] * len(answers)
    assert all(answer.headers["Retry-After"] for answer in answers[:-1]), "/readyz is asked by machines"
    assert not ApiKey.objects.exists()
    assert len(sms_collector.messages) == sent == SmsCode.objects.count()
    assert failure_counts(sara) == (0, 0)
    settings.CACHES = up
    # Back again, the same codes do what they were for: nothing was used up.
    assert visitor.post("/keys/", {"name": NAME}).status_code == 302
    assert visitor.post(VERIFY, codes).status_code == 302


def test_a_locked_sqlite_database_is_a_503_with_nothing_half_made(tmp_path: Any) -> None:
    with child_of("locked", DATABASE_URL=f"sqlite:///{tmp_path / 'portal.sqlite3'}", REDIS_URL="") as child:
        shown, errors = child.communicate(timeout=WAIT_SECONDS)
    assert child.returncode == 0, errors
    assert json.loads(shown) == {
        "while locked": [503, 503, 503, 503],
        "unchanged": True,
        "afterwards": [302, 200, 302],
        "secret shown": True,
    }


def test_a_key_whose_secret_was_never_stored_does_not_exist(
    sara: Person, visitor: Client, monkeypatch: Any
) -> None:
    from hitobit_portal.security import crypto

    def broken(secret: bytes, owner: str) -> str:
        raise OSError("no entropy")

    codes = people.both_codes(sara)
    with monkeypatch.context() as patched:
        patched.setattr(crypto, "seal", broken)
        assert visitor.post(VERIFY, codes).status_code == 500
    assert ApiKey.objects.count() == Credential.objects.count() == 0
    assert visitor.post(VERIFY, codes).status_code == 302
    assert Credential.objects.count() == 1


def test_full_disk_of_sqlite_is_not_ready(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sqlite = SimpleNamespace(vendor="sqlite", settings_dict={"NAME": str(tmp_path / "portal.sqlite3")})
    monkeypatch.setattr(health, "connection", sqlite)
    health._check_disk()
    monkeypatch.setattr(health, "LEAST_FREE_BYTES", 2**62)
    with pytest.raises(OSError, match="full"):
        health._check_disk()
