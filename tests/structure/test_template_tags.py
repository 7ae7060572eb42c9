"""Template tags format; the views load what a page shows (every test that renders a page is guarded, see conftest)."""

import pytest
from django.template import Context, Template, engines

from accounts.models import User
from tests.support import people
from tests.support.template_tags import TagQueriesDatabase, without_queries

pytestmark = pytest.mark.django_db


def count(_value: object) -> int:
    return User.objects.count()


def test_a_filter_that_queries_fails() -> None:
    with pytest.raises(TagQueriesDatabase):
        without_queries(count)("")


def test_the_filters_and_tags_of_the_portal_are_guarded() -> None:
    engine = engines["django"].engine  # type: ignore[attr-defined]
    guarded = [
        name
        for library in engine.template_libraries.values()
        for name, function in library.filters.items()
        if hasattr(function, "__wrapped__")
        and function.__module__.startswith(("accounts", "apikeys", "hitobit"))
    ]
    assert {"digits", "number", "fingerprint", "account_id"} <= set(guarded)
    node = Template("{% load staff_tags %}{% person who %}").nodelist[-1]
    assert node.func.__wrapped__.__module__ == "accounts.templatetags.staff_tags"  # type: ignore[attr-defined]


def test_a_view_may_pass_a_query_set() -> None:
    people.customer()
    template = Template("{% load jalali %}{% for one in users %}{{ one.pk|digits }}{% endfor %}")
    assert template.render(Context({"users": User.objects.all()}))
