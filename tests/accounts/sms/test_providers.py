"""SMS providers: their requests, the failover for every failure, and no API key in any log."""

import logging
import ssl
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from accounts import sms
from accounts.models import SmsDelivery
from accounts.sms import ProviderError, http_client, kavenegar, smsir, webhook
from hitobit_portal.http import outgoing
from tests.support import sms_collector
from tests.support.certificates import self_signed
from tests.support.sms_provider import API_KEY, MODES, QUOTED_KEY, ProviderServer

pytestmark = pytest.mark.django_db
PHONE, GERMAN, CODE = "+989121234567", "+4915112345678", "493817"
TEXT = "کد شما 493817 & <متن> +%"
PROVIDERS = (kavenegar, smsir, webhook)
NAMES = {module: module.__name__.rpartition(".")[2] for module in PROVIDERS}
REFUSED = {
    (kavenegar, "refuse"): "status 418",
    (kavenegar, "refuse message"): "status 411",
    (smsir, "refuse"): "status 102",
    (smsir, "refuse message"): "status 104",
    (webhook, "refuse"): "HTTP 401",
    (webhook, "refuse message"): "HTTP 422",
}
each_provider = pytest.mark.parametrize("module", PROVIDERS, ids=list(NAMES.values()))


#: Modes in which a timeout ends the call.
SLOW = [mode for mode, reason in MODES.items() if reason in ("ReadTimeout", "Deadline")]


def pointed_at(settings: Any, url: str) -> None:
    settings.KAVENEGAR_URL = settings.SMSIR_URL = url
    settings.SMS_HTTP_URL = f"{url}/messages"


@pytest.fixture
def provider(
    settings: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[ProviderServer]:
    """Return a working provider with accepted keys and short timeouts."""
    settings.KAVENEGAR_API_KEY = settings.SMSIR_API_KEY = settings.SMS_HTTP_TOKEN = API_KEY
    settings.KAVENEGAR_SENDER, settings.SMSIR_LINE = "10008663", 30004802149089
    # Short only where timeouts are tested: elsewhere a busy machine would look like a slow provider.
    if (
        getattr(request.node, "callspec", None) is not None
        and request.node.callspec.params.get("mode") in SLOW
    ):
        monkeypatch.setattr(outgoing, "READ_SECONDS", 0.2)
        monkeypatch.setattr(outgoing, "TOTAL_SECONDS", 0.6)
    sms_collector.reset()
    with ProviderServer() as server:
        pointed_at(settings, server.url)
        yield server


def send(module: Any, phone: str = PHONE, reference: str = "") -> str:
    result: str = module.send(phone, TEXT, code=CODE, purpose="login", reference=reference)
    return result


def test_kavenegar_gets_the_documented_form(provider: ProviderServer) -> None:
    assert send(kavenegar) == "8792343"
    (taken,) = provider.received
    assert taken.path == f"/v1/{QUOTED_KEY}/sms/send.json"
    assert taken.fields == {"receptor": "09121234567", "message": TEXT, "sender": "10008663"}


def test_kavenegar_sends_by_the_accounts_own_line_without_a_sender(
    provider: ProviderServer, settings: Any
) -> None:
    settings.KAVENEGAR_SENDER = ""
    send(kavenegar, GERMAN)
    assert provider.received[0].fields == {"receptor": "004915112345678", "message": TEXT}


def test_kavenegar_gets_the_same_localid_for_the_same_reference(provider: ProviderServer) -> None:
    assert send(kavenegar, reference="notice:1") == send(kavenegar, reference="notice:1")
    assert send(kavenegar, reference="notice:2") != send(kavenegar, reference="notice:1")
    first, second, third, _last = [int(taken.fields["localid"]) for taken in provider.received]
    assert first == second != third
    assert 0 < first < 2**53


def test_kavenegar_says_the_text_by_a_call(provider: ProviderServer) -> None:
    kavenegar.speak(PHONE, TEXT, code=CODE, purpose="login", reference="")
    (taken,) = provider.received
    assert taken.path == f"/v1/{QUOTED_KEY}/call/maketts.json"
    assert list(taken.fields) == ["receptor", "message"]
    assert taken.fields["message"] == TEXT


def test_smsir_gets_the_documented_json(provider: ProviderServer) -> None:
    assert send(smsir, reference="notice:1") == "89545112"
    (taken,) = provider.received
    assert (taken.path, taken.headers["X-API-KEY"]) == ("/v1/send/bulk", API_KEY)
    assert taken.fields == {"lineNumber": 30004802149089, "messageText": TEXT, "mobiles": ["09121234567"]}


def test_own_gateway_gets_the_documented_json(provider: ProviderServer) -> None:
    assert send(webhook, reference="notice:1") == "own-77"
    (taken,) = provider.received
    assert (taken.path, taken.headers["Authorization"]) == ("/messages", f"Bearer {API_KEY}")
    assert taken.headers["Idempotency-Key"] == "notice:1"
    assert taken.fields == {"to": PHONE, "text": TEXT, "purpose": "login", "reference": "notice:1"}


@each_provider
@pytest.mark.parametrize("mode", MODES)
def test_failure_is_a_class_or_a_status_and_nothing_else(
    provider: ProviderServer, caplog: pytest.LogCaptureFixture, module: Any, mode: str
) -> None:
    provider.mode = mode
    with caplog.at_level(logging.DEBUG), pytest.raises(ProviderError) as raised:
        send(module)
    assert raised.value.reason == str(raised.value) == MODES[mode] or REFUSED[module, mode]
    assert raised.value.is_message_fault is (mode == "refuse message")
    # Neither a cause nor a context: a traceback would show the URL, and the key in it.
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    assert len(provider.received) == 1
    assert not provider.client_waited
    for secret in (API_KEY, QUOTED_KEY, CODE, PHONE, PHONE[3:]):
        assert secret not in caplog.text


@each_provider
@pytest.mark.parametrize("mode", MODES)
def test_next_one_gets_the_message_however_a_provider_fails(
    provider: ProviderServer, settings: Any, module: Any, mode: str
) -> None:
    settings.SMS_BACKENDS = [module.__name__, "tests.support.sms_collector"]
    provider.mode = mode
    sms.send(PHONE, TEXT, code=CODE, purpose="login")
    assert sms_collector.newest().text == TEXT
    failed, sent = SmsDelivery.objects.order_by("pk")
    assert (failed.backend, failed.succeeded) == (module.__name__, False)
    assert failed.error == (MODES[mode] or REFUSED[module, mode])
    assert (sent.backend, sent.succeeded, sent.error) == ("tests.support.sms_collector", True, "")


@each_provider
def test_provider_without_a_listener_is_a_failure(provider: ProviderServer, module: Any) -> None:
    provider.shutdown()
    provider.server_close()
    with pytest.raises(ProviderError, match=r"^ConnectError$"):
        send(module)


@pytest.mark.parametrize("status", [6, 11, 13, 14])
def test_message_that_kavenegar_drops_at_once_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, settings: Any, status: int
) -> None:
    settings.KAVENEGAR_API_KEY = API_KEY
    response = http_client.ProviderResponse(
        200, {"return": {"status": 200}, "entries": [{"messageid": 1, "status": status}]}
    )
    monkeypatch.setattr(http_client, "post", lambda *arguments, **options: response)
    with pytest.raises(ProviderError, match=f"^message status {status}$"):
        send(kavenegar)


@each_provider
@pytest.mark.parametrize(
    "content",
    [None, 1, "200", [], {}, {"return": None}, {"return": {"status": "200"}}, {"return": {"status": [200]}},
     {"status": True}, {"status": [1]}, {"status": "1"}, {"id": ""}, {"id": True}, {"id": {"x": 1}}],
)  # fmt: skip
def test_answer_of_any_other_shape_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, settings: Any, module: Any, content: object
) -> None:
    settings.KAVENEGAR_API_KEY = API_KEY
    monkeypatch.setattr(
        http_client, "post", lambda *arguments, **options: http_client.ProviderResponse(200, content)
    )
    with pytest.raises(ProviderError, match=r"^HTTP 200, not understood$"):
        send(module)


@each_provider
def test_proxies_of_the_environment_see_nothing(
    provider: ProviderServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: Any
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with ProviderServer() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        send(module)
        assert proxy.received == []
    assert "Basic" not in provider.received[0].headers.get("Authorization", "")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an untrusted certificate for 127.0.0.1, with its key."""
    made, key = self_signed(x509.IPAddress(ip_address("127.0.0.1")))
    path = tmp_path_factory.mktemp("tls") / "provider.pem"
    path.write_bytes(made + key)
    return path


@pytest.mark.parametrize(
    ("known", "mode", "reason"),
    [(False, "ok", "SSLError"), (True, "ok", ""), (True, "drip head", "Deadline"), (True, "delay", "ReadTimeout")],
)  # fmt: skip
def test_certificate_is_checked_and_deadlines_hold_below_tls(
    provider: ProviderServer, settings: Any, monkeypatch: pytest.MonkeyPatch, certificate: Path,
    known: bool, mode: str, reason: str,
) -> None:  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if known:
        trusting = ssl.create_default_context(cafile=str(certificate))
        monkeypatch.setattr(outgoing, "tls_context", lambda: trusting)
    with ProviderServer(context) as secure:
        secure.mode = mode
        pointed_at(settings, secure.url)
        if not reason:
            assert send(kavenegar) == "8792343"
            return
        with pytest.raises(ProviderError) as raised:
            send(kavenegar)
        assert raised.value.reason == reason
        assert len(secure.received) == known
