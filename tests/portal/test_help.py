"""The customers' help in the portal: for everybody, in both languages, linked from where the question arises."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from hitobit_portal.help import place_of
from hitobit_portal.help.markdown_pages import DIRECTORY, page
from hitobit_portal.help.topics import PLACES, TOPICS
from tests.support import people
from tests.support.people import Person, browser

LANGUAGES = ("fa", "en")
ORIGIN = "https://keys.portal.example"
#: What the Markdown of the help is turned into. Nothing else may appear: no script, no style, no form, no image.
ELEMENTS = set("h1 h2 h3 p a ul ol li strong em code pre table thead tbody tr th td".split())
ATTRIBUTES = {"id", "href", "class"}


class Elements(HTMLParser):
    """Collects the elements of a page, and their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def values(self, name: str) -> set[str]:
        return {value for attribute, value in self.attributes if attribute == name}


def url_names() -> set[str]:
    """Return the names of all pages of customers."""
    return {
        entry.name
        for entry in get_resolver().url_patterns
        if isinstance(entry, URLPattern) and not isinstance(entry, URLResolver) and entry.name
    }


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("topic", TOPICS)
def test_help_has_plain_elements_and_links_that_lead_somewhere(language: str, topic: str) -> None:
    parsed = Elements(page(language, topic, ORIGIN).html)
    assert parsed.elements <= ELEMENTS
    assert {name for name, _value in parsed.attributes} <= ATTRIBUTES
    assert parsed.values("class") <= {"language-python"}
    for link in parsed.values("href"):
        target = re.fullmatch(r"/help/([a-z]+)/(?:[#]([a-z-]+))?", link)
        assert target, link
        assert not target[2] or target[2] in Elements(page(language, target[1], ORIGIN).html).values("id")


@pytest.mark.parametrize("language", LANGUAGES)
def test_examples_have_the_address_of_this_portal(language: str) -> None:
    html = page(language, "use", ORIGIN).html
    assert f'base_url="{ORIGIN}"' in html.replace("&quot;", '"')
    assert "keys.example.com" not in html


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_place_exists_in_both_languages(language: str) -> None:
    for place in {place for _beginning, place in PLACES}:
        topic, _hash, section = place.partition("#")
        assert topic in TOPICS
        assert not section or section in Elements(page(language, topic, ORIGIN).html).values("id"), place
    assert {path.stem for path in (DIRECTORY / language).glob("*.md")} == set(TOPICS)


def test_every_page_of_customers_has_a_page_of_the_help() -> None:
    #: Not read by people, or the help itself.
    others = {"home", "help", "help_page", "logout", "set_language", "preferences", "password_strength"}
    machines = {
        *(
            "security_txt",
            "robots_txt",
            "change_password",
            "ping",
            "server_time",
            "api_restrictions",
            "caller_address",
        ),
        *(
            "oidc_login",
            "oidc_callback",
            "oidc_backchannel_logout",
        ),  # redirects, and the provider's own requests
    }
    assert {name for name in url_names() - others - machines if place_of(name) == ("", "")} == set()


@pytest.mark.django_db
@pytest.mark.parametrize(("code", "direction", "title"), [("fa", "rtl", "راهنما"), ("en", "ltr", "Help")])
def test_help_needs_no_login_and_speaks_the_visitors_language(code: str, direction: str, title: str) -> None:
    visitor = browser()
    visitor.post("/language/", {"language": code, "next": "/help/"})
    response = visitor.get("/help/")
    text = response.content.decode()
    assert response.status_code == 200
    assert re.search(rf'<html lang="{code}" dir="{direction}"', text)
    assert f"<h1>{title}</h1>" in text
    assert "default-src 'none'" in response["Content-Security-Policy"]
    for topic in TOPICS:
        assert f'href="/help/{topic}/"' in text
        assert str(page(code, topic, "").title) in visitor.get(f"/help/{topic}/").content.decode()


@pytest.mark.django_db
def test_an_unknown_topic_is_not_found() -> None:
    assert browser().get("/help/nothing/").status_code == 404
    assert browser().get("/help/..%2fcreate/").status_code == 404


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/dashboard/", "/help/create/"),
        ("/keys/", "/help/create/"),
        ("/debugger/", "/help/refused/#debugger"),
        ("/freeze/", "/help/revoke/#freeze"),
        ("/settings/", "/help/account/"),
        ("/sessions/", "/help/account/#sessions"),
    ],
)
def test_pages_link_to_their_help(path: str, place: str, sara: Person) -> None:
    assert f'href="{place}"' in people.logged_in(sara).get(path).content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "place"), [("/login/", "/help/login/"), ("/forgot/", "/help/login/#forgotten")]
)
def test_pages_before_a_login_link_to_their_help(path: str, place: str) -> None:
    assert f'href="{place}"' in browser().get(path).content.decode()


@pytest.mark.django_db
def test_pages_link_to_the_api_reference_if_it_is_configured(sara: Person, settings: Any) -> None:
    client = people.logged_in(sara)
    assert "docs.exchange.example" not in client.get("/keys/").content.decode()
    settings.API_DOCS_URL = "https://docs.exchange.example/api"
    for path in ("/keys/", "/help/use/"):
        assert (
            'href="https://docs.exchange.example/api" rel="noreferrer"' in client.get(path).content.decode()
        )
