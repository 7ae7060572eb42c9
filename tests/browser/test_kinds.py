"""A pair of keys made in a real browser, a secret rotated in one, and the ready programs copied from it and run."""

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from playwright.sync_api import Request, expect

from tests.apikeys.client_api.test_client_api import RESTRICTIONS, stamp
from tests.support import visitors
from tests.support.accessibility import DESKTOP, PHONE, faults
from tests.support.binance_client import BinanceClient
from tests.support.key_pairs import private_pem, public_pem, rsa_of, signed_query
from tests.support.live_site import LiveSite
from tests.support.visitors import Visit, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.verify]
PROGRAMS = {
    "curl": ["bash", "-e"],
    "python": [sys.executable, "-"],
    "node": ["node", "--input-type=module", "-"],
}


class Traffic:
    """All that a browser sends."""

    def __init__(self, visitor: Visitor) -> None:
        self.sent: list[bytes] = []
        visitor.listen("request", self._note)

    def _note(self, request: Request) -> None:
        self.sent += [request.url.encode(), request.post_data_buffer or b"", repr(request.headers).encode()]


def traces(private: Ed25519PrivateKey) -> list[bytes]:
    """How the private half would look on a traffic."""
    raw = private.private_bytes_raw()
    body = private_pem(private).splitlines()[1].encode()
    spelled = [raw, raw.hex().encode(), b64encode(raw)[:40], body[-40:], body[:-1]]
    return [*spelled, b"BEGIN PRIVATE KEY"]


def status(site: LiveSite, key: str, query: str) -> int:
    request = urllib.request.Request(f"{site.url}{RESTRICTIONS}?{query}", headers={"X-MBX-APIKEY": key})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def signs(site: LiveSite, key: str, secret: str) -> int:
    call = BinanceClient(key, secret).call("GET", RESTRICTIONS, [("timestamp", stamp())])
    return status(site, key, call.query.decode())


def choose_kind(visitor: Visitor, kind: str) -> None:
    """On the page of the keys: a name, and the kind under "more"."""
    visitor.page.locator("#name").fill("bot")
    visitor.page.locator("#kind > summary").click()
    visitor.page.locator(f"input[name=kind][value={kind}]").check()


def to_codes(visitor: Visitor) -> None:
    visitor.page.locator("#kind button[type=submit]").click()
    visitor.at("/keys/new/verify/")
    visitor.give_codes()
    visitor.button(visitors.SUBMIT).click()


def in_keys(visit: Visit, **options: Any) -> Visitor:
    sara = visit(**options)
    sara.log_in()
    sara.open("/keys/")
    return sara


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_pair_made_in_the_browser_signs_and_its_private_half_never_leaves(
    portal: LiveSite, visit: Visit, size: dict[str, int]
) -> None:
    sara = in_keys(visit, viewport=size)
    page, traffic = sara.page, Traffic(sara)
    choose_kind(sara, "ed25519")
    with page.expect_download() as download:
        page.locator("#make-pair").click()
    assert download.value.suggested_filename == "hitobit-ed25519-private.pem"
    private = load_pem_private_key(download.value.path().read_bytes(), None)
    assert isinstance(private, Ed25519PrivateKey)
    expect(page.locator("#made-key")).to_have_value(public_pem(private))
    to_codes(sara)
    key = page.locator("#api-key").inner_text()
    expect(page.locator("#api-secret")).to_have_count(0)
    assert status(portal, key, signed_query(private)) == 200
    expect(page.locator("#first-use")).to_have_attribute("data-tone", "ok")
    sent = b"\n".join(
        [*traffic.sent, *(unquote_to_bytes(piece.replace(b"+", b" ")) for piece in traffic.sent)]
    )
    assert public_pem(private).splitlines()[1].encode() in sent  # the public half was seen on the traffic
    assert [trace for trace in traces(private) if trace in sent] == []
    assert "BEGIN PRIVATE" not in page.content()


def test_pasted_private_key_is_taken_off_the_page_before_it_is_sent(visit: Visit) -> None:
    sara = in_keys(visit)
    traffic = Traffic(sara)
    choose_kind(sara, "public")
    sara.page.locator("#public_key").fill(private_pem(rsa_of(3072)))
    expect(sara.page.locator("#private-key-warning")).to_be_visible()
    expect(sara.page.locator("#public_key")).to_have_value("")
    sara.page.locator("#kind button[type=submit]").click()
    expect(sara.page.locator("#public_key-error")).to_be_visible()
    assert b"PRIVATE" not in b"".join(traffic.sent)


def test_public_key_is_pasted_without_javascript(portal: LiveSite, visit: Visit) -> None:
    sara = in_keys(visit, java_script_enabled=False)
    choose_kind(sara, "public")
    expect(sara.page.locator("input[value=ed25519]")).to_be_disabled()
    sara.page.locator("#public_key").fill(public_pem(rsa_of(3072)))
    to_codes(sara)
    key = sara.page.locator("#api-key").inner_text()
    assert status(portal, key, signed_query(rsa_of(3072))) == 200
    deadline = time.monotonic() + 20
    while sara.page.locator("#first-steps").count() and time.monotonic() < deadline:
        sara.page.locator("#first-use a").click()  # what was used is written after its answer
    expect(sara.page.locator("#first-steps")).to_have_count(0)


@pytest.mark.parametrize(
    "way",
    [{"viewport": DESKTOP}, {"viewport": PHONE, "java_script_enabled": False}],
    ids=["desktop", "no js"],
)
def test_secret_is_rotated_and_the_old_one_ended(portal: LiveSite, visit: Visit, way: dict[str, Any]) -> None:
    sara = visit(**way)
    page = sara.page
    sara.log_in()
    key, old = sara.make_key("bot")
    path = page.url.removeprefix(portal.url)
    portal.sql("UPDATE apikeys_apikey SET first_settings_at = created_at WHERE key_id = ?", key)
    sara.open(f"{path}signing/")
    page.locator("#credentials a").click()
    sara.at(f"{path}rotate/")
    page.locator("main button[type=submit].primary").click()
    sara.at(f"{path}rotate/verify/")
    sara.give_codes()
    sara.button(visitors.SUBMIT).click()
    expect(sara.secret).to_be_visible()
    new = sara.secret.inner_text()
    assert page.locator("#api-key").inner_text() == key
    assert new != old
    assert [signs(portal, key, text) for text in (old, new, old)] == [200, 200, 200]
    if way.get("java_script_enabled", True):
        page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    else:
        page.reload()
    assert new not in page.content()
    page.locator("main a.btn.primary").click()
    first = page.locator("#credentials li").first
    first.locator("summary").click()
    first.locator("button").click()
    expect(page.locator("#credentials li")).to_have_count(1)
    assert [signs(portal, key, text) for text in (old, new)] == [400, 200]


def test_axe_finds_nothing_and_nothing_scrolls_sideways(portal: LiveSite, visit: Visit) -> None:
    sara = in_keys(visit)
    page = sara.page
    result: list[str] = []

    def look() -> None:
        result.extend(f"{page.url} {fault}" for fault in faults(page))

    choose_kind(sara, "ed25519")
    look()
    page.locator("input[value=public]").check()
    page.locator("#public_key").fill("prose")
    page.locator("#kind button[type=submit]").click()
    expect(page.locator("#public_key-error")).to_be_visible()
    page.locator("#kind details summary").click()
    look()
    page.locator("#public_key").fill(public_pem(rsa_of(3072)))
    to_codes(sara)
    page.locator("#snippet-curl").evaluate("box => { box.closest('details').open = true; }")
    look()
    path = page.url.removeprefix(portal.url)
    portal.sql("UPDATE apikeys_apikey SET first_settings_at = created_at")
    sara.open(f"{path}rotate/")
    look()
    page.locator("main button.primary").click()
    sara.at(f"{path}rotate/verify/")
    sara.give_codes()
    sara.button(visitors.SUBMIT).click()
    expect(sara.secret).to_be_visible()
    look()
    sara.open(f"{path}signing/")
    page.locator("#credentials summary").first.click()
    look()
    assert result == []


def run(program: str, text: str, **environ: str) -> str:
    """What the copied program prints."""
    if shutil.which(PROGRAMS[program][0]) is None:
        pytest.skip(f"needs {PROGRAMS[program][0]}")
    done = subprocess.run(
        PROGRAMS[program],
        input=text,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def copied(visitor: Visitor, language: str) -> str:
    """The program as the button copies it."""
    block = visitor.page.locator(f"details:has(#snippet-{language})")
    block.locator("summary").click()
    block.get_by_role("button").click()
    expect(visitor.page.locator(".toast.show")).to_be_visible()
    return str(visitor.page.evaluate("navigator.clipboard.readText()"))


def test_copied_programs_of_a_secret_run_and_turn_the_line_green(visit: Visit) -> None:
    sara = visit()
    sara.log_in()
    _key, secret = sara.make_key("bot")
    for language in PROGRAMS:
        assert '"enableReading": true' in run(language, copied(sara, language), API_SECRET=secret)
        expect(sara.page.locator("#first-use")).to_have_attribute("data-tone", "ok")
    assert sara.secret.inner_text() == secret  # the line asks by itself, and the page stays


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_copied_programs_of_a_public_key_run_and_turn_the_line_green(
    visit: Visit, tmp_path: Path, kind: str
) -> None:
    private = rsa_of(3072) if kind == "rsa" else Ed25519PrivateKey.generate()
    file = tmp_path / "private.pem"
    file.write_text(private_pem(private))
    sara = in_keys(visit)
    choose_kind(sara, "public")
    sara.page.locator("#public_key").fill(public_pem(private))
    to_codes(sara)
    expect(sara.page.locator("#fingerprint")).to_be_visible()
    for language in PROGRAMS:
        assert '"enableReading": true' in run(language, copied(sara, language), PRIVATE_KEY_FILE=str(file))
        expect(sara.page.locator("#first-use")).to_have_attribute("data-tone", "ok")
