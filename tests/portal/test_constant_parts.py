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
USES = re.compile(r'{% include_constant "([^"]+)"')


def constant_parts() -> set[str]:
    return {
        name for path in TEMPLATES.rglob("*.html") for name in USES.findall(path.read_text(encoding="utf-8"))
    }


def rendered(source: str, **values: object) -> str:
    return Template(source).render(Context(values))


@pytest.mark.parametrize("name", sorted(constant_parts()))
def test_a_constant_part_reads_nothing_of_a_request(name: str) -> None:
    """SECURITY: what it shows is kept for the requests of others."""
    source = (TEMPLATES / name).read_text(encoding="utf-8")
    assert not re.search(r"\b(request|user|customer|csrf_token|portal)\b(?!`)", re.sub("{#.*?#}", "", source))


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


def test_a_constant_text_is_escaped_where_the_template_escapes() -> None:
    template = Template("""{% load i18n %}{% translate "a & b" as both %}{{ both }}{% translate "a & b" %}""")
    assert template.render(Context()) == template.render(Context())
    assert template.render(Context(autoescape=False)) == "a & ba & b"


@pytest.mark.django_db
def test_staff_and_customers_get_their_own_navigation() -> None:
    customer, member = people.customer(), people.customer(is_staff=True)
    for person, is_shown in ((customer, False), (member, True), (customer, False)):
        client: Client = people.logged_in(person)
        assert ('href="/admin/"' in client.get("/activity/").content.decode()) == is_shown
