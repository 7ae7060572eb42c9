"""Where webhooks may go: public addresses by https, listed networks, and nothing else, whatever a name resolves to."""

import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from accounts.webhooks import transport
from hitobit_portal.http import destinations, outgoing
from tests.support.certificates import self_signed
from tests.support.webhook_receiver import Receiver

LOOPBACK = [ip_network("127.0.0.0/8")]
NAME = "hooks.example.com"


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "168.63.129.16",
        "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.168.1.1", "198.18.0.1",
        "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "::", "::1",
        "::ffff:10.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1",
        "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1",
        "fe80::1%eth0", "fec0::1", "ff02::1",
    ],
)  # fmt: skip
def test_special_address_is_not_public(text: str) -> None:
    assert not destinations.is_public(ip_address(text))


@pytest.mark.parametrize(
    "text", ["1.1.1.1", "8.8.8.8", "172.15.0.1", "172.32.0.1", "100.63.0.1", "2606:4700::1111", "2a00::1"]
)
def test_ordinary_address_is_public(text: str) -> None:
    assert destinations.is_public(ip_address(text))


def test_network_of_every_address_is_refused() -> None:
    for text in ("0.0.0.0/0", "::/0", "10.0.0.1/8"):
        with pytest.raises(ValueError, match=r"every address|host bits"):
            destinations.parse_networks([text])


def post(url: str, networks: list[Any]) -> transport.Answer:
    """Send a message as the sender does, in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(transport.post, url, {}, b"{}", networks).result()


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Have `NAME` resolve to each of ``answers`` in turn. Return the list of look-ups."""
    look_ups: list[str] = []

    def getaddrinfo(host: str, port: int, *arguments: Any, **options: Any) -> list[Any]:
        look_ups.append(host)
        addresses = answers[min(len(look_ups), len(answers)) - 1]
        return [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
            for each in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return look_ups


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "localhost", "[::1]"])
def test_nothing_is_sent_to_this_machine_in_any_spelling(host: str) -> None:
    with Receiver() as receiver:
        for scheme in ("http", "https"):
            answer = post(f"{scheme}://{host}:{receiver.port}/", [])
            assert (answer.status, answer.error) in ((None, "AddressNotAllowed"), (None, "NoAddress"))
        assert receiver.received == []


@pytest.mark.parametrize("second", ["10.0.0.1", "::1", "169.254.169.254", "::ffff:127.0.0.1"])
def test_name_with_one_address_that_is_not_allowed_is_refused(
    second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, ["8.8.8.8", second])
    assert post(f"https://{NAME}/", []).error == "AddressNotAllowed"


def test_http_is_for_listed_networks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, ["8.8.8.8"])
    assert post(f"http://{NAME}/", LOOPBACK).error == "AddressNotAllowed"


def test_name_that_resolves_to_something_else_the_second_time_is_looked_up_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Receiver() as receiver:
        look_ups = resolving(monkeypatch, ["127.0.0.1"], ["10.0.0.1"])
        answer = post(f"http://{NAME}:{receiver.port}/x", LOOPBACK)
        assert (answer.status, look_ups) == (204, [NAME])
        assert receiver.received[0].headers["host"] == f"{NAME}:{receiver.port}"


def test_unreachable_address_is_followed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as receiver:
        resolving(monkeypatch, ["127.0.0.2", "127.0.0.1"])
        assert post(f"http://{NAME}:{receiver.port}/", LOOPBACK).status == 204


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of `NAME`, with its key, that signs itself."""
    made, key = self_signed(x509.DNSName(NAME), is_authority=True)
    path = tmp_path / "certificate.pem"
    path.write_bytes(key + made)
    return path


def test_certificate_is_checked_for_the_name_though_the_address_is_pinned(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver(certificate=certificate) as receiver:
        resolving(monkeypatch, ["127.0.0.1"])
        url = f"https://{NAME}:{receiver.port}/"
        assert post(url, LOOPBACK).error == "SSLError", "nobody vouches for it"
        trusting = ssl.create_default_context(cafile=certificate)
        monkeypatch.setattr(outgoing, "tls_context", lambda: trusting)
        assert post(url, LOOPBACK).status == 204
        other = url.replace("hooks.", "other.")
        assert post(other, LOOPBACK).error == "SSLError", "it is for another name"
        assert len(receiver.received) == 1
