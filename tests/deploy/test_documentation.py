"""The documents and the site made of them: they build, name only what exists, and ask no other host for anything."""

import functools
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from babel.messages.pofile import read_po

from hitobit_portal.help.topics import TOPICS
from tests.support import data_model
from tests.support.production import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser

DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
BIN = Path(sys.executable).parent
#: Of code spans only those that name a file or a directory of the repository.
PLACE = re.compile(
    r"`((?:accounts|apikeys|hitobit_portal|tests|bench|deploy|docs|static|templates)/[\w./-]*)`"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    directory = tmp_path_factory.mktemp("site")
    result = subprocess.run(
        [BIN / "mkdocs", "build", "--strict", "--quiet", "--site-dir", directory],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(directory), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return directory


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a directory without a log."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Loads(HTMLParser):
    """Collects what a browser loads for a page without a click."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source"):
            self.urls.append(given.get("src") or "")
        if tag == "link" and given.get("rel") != "canonical":
            self.urls.append(given.get("href") or "")


def remote(text: str) -> Iterator[str]:
    """Yield the addresses of other hosts that ``text`` (HTML) loads."""
    parser = Loads()
    parser.feed(text)
    yield from (url for url in parser.urls if re.match(r"(https?:)?//", url))


def test_a_remote_script_would_be_found() -> None:
    assert list(remote('<script src="//a.example/x.js"></script><img src="x.png">')) == ["//a.example/x.js"]


def test_the_site_builds_and_loads_nothing_from_other_hosts(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        assert list(remote(page.read_text(encoding="utf-8"))) == [], page.name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet.name
    scripts = list((site / "assets/javascripts").glob("*.js"))
    assert scripts
    for script in scripts:
        assert "unpkg.com" not in script.read_text(encoding="utf-8"), script.name
    assert (site / "assets/mermaid.tiny.js").stat().st_size > 1_000_000


@pytest.mark.browser
@pytest.mark.verify
def test_a_browser_draws_the_diagrams_and_asks_no_other_host(site: Path, browser: "Browser") -> None:
    handler = functools.partial(QuietHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        origin = f"http://127.0.0.1:{server.server_port}/"
        requested: list[str] = []
        page = browser.new_page()
        try:
            page.on("request", lambda request: requested.append(request.url))
            page.goto(f"{origin}architecture.html")
            diagrams = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").count("```mermaid")
            assert diagrams > 5
            page.wait_for_function(f"document.querySelectorAll('div.mermaid').length === {diagrams}")
            assert page.locator("pre.mermaid").count() == 0
        finally:
            page.close()
            server.shutdown()
    assert f"{origin}assets/mermaid.tiny.js" in requested
    assert [url for url in requested if not url.startswith((origin, "data:", "blob:"))] == []


def test_persian_pages_are_right_to_left(site: Path) -> None:
    persian = (site / "help/fa/create.html").read_text(encoding="utf-8")
    english = (site / "help/en/create.html").read_text(encoding="utf-8")
    assert re.search(r'<html lang="fa"', persian)
    assert re.search(r'<body dir="rtl"', persian)
    assert re.search(r'<body dir="ltr"', english)


def test_each_page_of_help_is_there_in_both_languages() -> None:
    names = {path.name for path in (ROOT / "docs/help/fa").glob("*.md")}
    assert names == {path.name for path in (ROOT / "docs/help/en").glob("*.md")}
    assert names == {f"{topic}.md" for topic in TOPICS}


@pytest.mark.parametrize("language", ["fa", "en"])
def test_labels_in_the_help_are_those_of_the_pages(language: str) -> None:
    """What the help prints bold at the start of a click is a message of the portal, word by word."""
    with (ROOT / f"locale/{language}/LC_MESSAGES/django.po").open("rb") as file:
        messages = {str(part) for entry in read_po(file) for part in (entry.string, entry.id)}
    bold = {
        label
        for path in (ROOT / "docs/help" / language).glob("*.md")
        for label in re.findall(r"\*\*([^*]+)\*\*", path.read_text(encoding="utf-8"))
    }
    emphasis = {label for label in bold if label.endswith(":") or label in EMPHASIS}
    assert len(bold - emphasis) > 15
    assert bold - emphasis - messages == set()


#: Bold because it matters, and no label.
EMPHASIS = {"کلید مخفی فقط همین یک بار نمایش داده می‌شود", "امضا درست بوده", "was signed correctly"}


def test_places_that_documents_name_exist() -> None:
    missing = {
        f"{path.relative_to(ROOT)}: {place}"
        for path in DOCUMENTS
        for place in PLACE.findall(path.read_text(encoding="utf-8"))
        if not (ROOT / place).exists()
    }
    assert missing == set()


def test_programs_that_documents_name_exist() -> None:
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in DOCUMENTS
        for name in re.findall(
            r"python -m ((?:tests|bench|hitobit_portal|apikeys|accounts)\.[\w.]*\w)", path.read_text("utf-8")
        )
        if not (ROOT / f"{name.replace('.', '/')}.py").exists()
    }
    assert missing == set()


def test_every_make_target_that_documents_name_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {
        name
        for path in DOCUMENTS
        for name in re.findall(r"(?m)(?:^|`)make ([a-z]+)", path.read_text(encoding="utf-8"))
    }
    assert {"run", "test", "docs", "sbom"} <= named
    assert {name for name in named if not re.search(rf"(?m)^{name}:", makefile)} == set()


def test_links_from_the_readme_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text)]
    assert [
        target for target in targets if "://" not in target and target and not (ROOT / target).exists()
    ] == []


def test_every_decision_is_listed() -> None:
    records = {path.name for path in (ROOT / "docs/decisions").glob("[0-9]*.md")}
    assert len(records) > 20
    index = (ROOT / "docs/decisions/index.md").read_text(encoding="utf-8")
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", index)) == records
    assert set(re.findall(r"decisions/(\d{4}-[\w-]+\.md)", menu)) == records


def test_the_data_model_is_the_models() -> None:
    """`python -m tests.support.production .venv/bin/python -m tests.support.data_model --write` makes it so."""
    text = data_model.DOCUMENT.read_text(encoding="utf-8")
    assert data_model.written_into(text) == text
    assert "    ApiKey ||--o{ Credential : key" in text


def test_every_race_is_in_the_threat_model() -> None:
    text = (ROOT / "docs/threat-model.md").read_text(encoding="utf-8")
    races = {str(path.relative_to(ROOT)) for path in (ROOT / "tests/races").glob("test_*.py")}
    assert {name for name in races if f"`{name}`" not in text} == set()


def test_the_bill_of_materials_has_every_locked_package(tmp_path: Path) -> None:
    target = tmp_path / "sbom.json"
    subprocess.run(
        [BIN / "cyclonedx-py", "requirements", "requirements.txt", "--output-reproducible",
         "--output-format", "JSON", "--output-file", target],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    document = json.loads(target.read_text(encoding="utf-8"))
    listed = {(part["name"].lower(), part["version"]) for part in document["components"]}
    locked = re.findall(
        r"(?m)^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", (ROOT / "requirements.txt").read_text()
    )
    assert len(locked) > 20
    assert {(name.lower(), version) for name, version in locked} == listed
