"""Parts of pages that are rendered once, and texts that are looked up once: in each language, and of nobody."""

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.template import Context, Template
from django.test import Client
from django.utils import translation

from tests.support import people

TEMPLATES = Path(settings.BASE_DIR) / "templates"
USES = re.compile(r'{% include_constant "([^"]+)"(.*?) %}')
#: What templates pass to constant parts. Each has few values, and none says who asks.
VALUES = {
    *(
        "here",
        "portal.help",
        "portal.demo",
        "portal.api_docs",
        "request.user.is_staff",
        "button_class",
        "icon",
    ),
    *("row.state", "state", "key.shown_state", "key.listed_permissions"),
    *("health.tone", "health.petals", "row.health.tone", "row.health.petals"),
}


def uses() -> set[tuple[str, str]]:
    """Each constant part that a template has, and what it passes to it."""
    return {
        use for path in TEMPLATES.rglob("*.html") for use in USES.findall(path.read_text(encoding="utf-8"))
    }


def rendered(source: str, **values: object) -> str:
    return Template(source).render(Context(values))


def test_what_constant_parts_get_is_of_nobody() -> None:
    """SECURITY: a name or a number in it would be kept, and shown to nobody else only by luck."""
    passed = {value.partition("=")[2] for _name, values in uses() for value in values.split()}
    assert passed <= VALUES


@pytest.mark.parametrize("name", sorted({name for name, _values in uses()}))
def test_a_constant_part_reads_nothing_of_a_request(name: str) -> None:
    """SECURITY: what it shows is kept for the requests of others."""
    tags = "".join(re.findall(r"{[{%].*?[%}]}", (TEMPLATES / name).read_text(encoding="utf-8")))
    names = set(re.findall(r"\w+", re.sub(r"'[^']*'|\"[^\"]*\"", "", tags)))
    assert not names & {"request", "user", "customer", "csrf_token", "portal"}


def test_a_constant_part_does_not_see_the_context_of_its_page() -> None:
    link = "/admin/"
    assert link in rendered('{% include_constant "parts/menu_links.html" is_staff=True %}')
    assert link not in rendered('{% include_constant "parts/menu_links.html" %}', is_staff=True)


def test_constant_parts_and_texts_are_those_of_the_language() -> None:
    source = '{% load i18n %}{% translate "Settings" %}{% include_constant "parts/theme.html" %}'
    template = Template(source)
    with translation.override("fa"):
        persian = template.render(Context())
    with translation.override("en"):
        english = template.render(Context())
    assert "تنظیمات" in persian
    assert "Settings" in english
    assert "Dark theme" in english
    assert "Dark theme" not in persian


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_a_constant_text_is_the_same_where_the_template_escapes_and_where_not(
    order: tuple[bool, bool],
) -> None:
    template = Template(
        """{% load i18n %}{% translate "a & b" as both %}{{ both }}, {% translate "a & b" %}"""
    )
    texts = {template.render(Context(autoescape=autoescape)) for autoescape in order}
    assert texts == {"a & b, a & b"}


@pytest.mark.django_db
def test_staff_and_customers_get_their_own_navigation() -> None:
    customer, member = people.customer(), people.customer(is_staff=True)
    for person, is_shown in ((customer, False), (member, True), (customer, False)):
        client: Client = people.logged_in(person)
        assert ('href="/admin/"' in client.get("/activity/").content.decode()) == is_shown
