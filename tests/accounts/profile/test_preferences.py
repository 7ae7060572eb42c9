"""Language, theme, digits and optional notices: in the account, in cookies, and on every page."""

from typing import Any

import pytest
from django.test import Client
from django.utils import translation

from accounts.choices.events import Event
from accounts.models import AuditEvent, User
from accounts.notifications import policy
from apikeys.policy.events import KeyEvent
from hitobit_portal.http import display_preferences, error_pages
from hitobit_portal.i18n import jalali
from tests.support import people
from tests.support.people import Person, browser, customer, logged_in

pytestmark = pytest.mark.django_db
GOOD = {"theme": "dark", "language": "en", "digits": "latin", "notices": ["login"]}


@pytest.fixture
def sara() -> Person:
    return people.with_password(customer())


def html_of(client: Client, path: str = "/login/") -> str:
    """Return the opening tag of the page's root element."""
    text = client.get(path).content.decode()
    return text[text.index("<html") : text.index("<head")]


def test_saving_keeps_them_in_the_account_and_in_the_browser(sara: Person) -> None:
    client = logged_in(sara)
    answer = client.post("/settings/preferences/", GOOD)
    assert answer.headers["Location"] == "/settings/"
    user = sara.reload()
    assert (user.theme, user.language, user.digits) == ("dark", "en", "latin")
    assert user.optional_notices == ["login"]
    ours = {display_preferences.prefix() + name for name in display_preferences.NAMES}
    written = {name: morsel for name, morsel in answer.cookies.items() if name in ours}
    assert {name: morsel.value for name, morsel in written.items()} == {
        "__Host-theme": "dark", "__Host-language": "en", "__Host-digits": "latin",
    }  # fmt: skip
    for morsel in written.values():
        assert morsel["secure"]
        assert (morsel["path"], morsel["domain"], morsel["samesite"]) == ("/", "", "Lax")
    root = html_of(client, "/dashboard/")
    assert 'lang="en"' in root
    assert 'data-theme="dark"' in root
    assert 'data-digits="latin"' in root


def test_auto_takes_the_cookies_away(sara: Person) -> None:
    client = logged_in(sara)
    client.post("/settings/preferences/", GOOD)
    client.post("/settings/preferences/", {"theme": "auto", "language": "fa", "digits": "auto"})
    root = html_of(client, "/dashboard/")
    assert 'lang="fa"' in root
    assert "data-" not in root
    assert sara.reload().optional_notices == []


def test_an_event_is_left_when_something_changed(sara: Person) -> None:
    client = logged_in(sara)
    client.post("/settings/preferences/", GOOD)
    client.post("/settings/preferences/", GOOD)
    assert AuditEvent.objects.filter(event="account.preferences").count() == 1


@pytest.mark.parametrize(
    "bad",
    [{"theme": "pink"}, {"language": "de"}, {"digits": "roman"}, {"notices": ["key.created"]}, {"theme": ""}],
)
def test_invalid_choice_refuses_the_whole_form(sara: Person, bad: dict[str, Any]) -> None:
    client = logged_in(sara)
    assert client.post("/settings/preferences/", {**GOOD, **bad}).status_code == 302
    user = sara.reload()
    assert (user.theme, user.language, user.digits, user.optional_notices) == ("", "", "", [])
    assert "data-theme" not in html_of(client, "/dashboard/")


def test_a_form_of_another_site_saves_nothing(sara: Person) -> None:
    client = logged_in(sara, csrf=True)
    answer = client.post("/settings/preferences/", GOOD, headers={"origin": "https://evil.example"})
    assert answer.status_code == 403
    assert sara.reload().theme == ""


def test_optional_notices_are_put_into_the_outbox_only_when_wanted(sara: Person) -> None:
    assert set(policy.OPTIONAL).isdisjoint(policy.MANDATORY)
    client = logged_in(sara)
    client.post("/settings/preferences/", GOOD)
    user = sara.reload()
    assert policy._is_told(Event.LOGIN, user)
    assert not policy._is_told(Event.RECOVERY_MADE, user)
    assert policy._is_told(KeyEvent.CREATED, user)


def test_settings_show_optional_and_mandatory_notices(sara: Person) -> None:
    client = logged_in(sara)
    client.post("/settings/preferences/", GOOD)
    text = client.get("/settings/").content.decode()
    for name, value in (("theme", "dark"), ("language", "en"), ("digits", "latin"), ("notices", "login")):
        assert f'name="{name}" value="{value}" checked' in text
    assert text.count("checked disabled") == len(policy.MANDATORY)
    assert 'value="factor.recovery_made"><' in text


def test_login_brings_the_preferences_of_the_account_into_the_browser(sara: Person) -> None:
    User.objects.filter(pk=sara.user.pk).update(theme="dark", language="en", digits="latin")
    client = browser()
    assert "data-theme" not in html_of(client)
    client.post("/login/", {"phone": sara.user.phone, "password": sara.password})
    client.post("/login/second-factor/?method=totp", {"code": sara.totp()})
    assert 'lang="en"' in html_of(client, "/dashboard/")
    assert 'data-theme="dark"' in html_of(client, "/dashboard/")


def test_login_leaves_the_browser_alone_where_the_account_says_nothing(sara: Person) -> None:
    client = browser()
    client.cookies["theme"] = "dark"
    client.cookies["language"] = "en"
    client.post("/login/", {"phone": sara.user.phone, "password": sara.password})
    client.post("/login/second-factor/?method=totp", {"code": sara.totp()})
    assert 'data-theme="dark"' in html_of(client, "/dashboard/")
    assert 'lang="en"' in html_of(client, "/dashboard/")


def test_language_and_theme_outlive_a_logout_that_empties_the_browser(sara: Person) -> None:
    client = logged_in(sara)
    client.cookies["language"], client.cookies["theme"] = "en", "dark"
    answer = client.post("/logout/")
    assert answer.headers["Location"].startswith("/login/?language=en&theme=dark&browser=")
    emptied = browser()
    back = emptied.get(answer.headers["Location"])
    assert back.headers["Location"] == "/login/"
    assert 'lang="en"' in html_of(emptied)
    assert 'data-theme="dark"' in html_of(emptied)


@pytest.mark.parametrize(
    "query", ["language=de", "language=en%0d%0aX:1", "theme=%22%3E%3Cscript%3E", "language=", "digits=auto"]
)
def test_only_known_choices_are_taken_from_the_address(query: str) -> None:
    answer = browser().get(f"/login/?{query}")
    assert answer.status_code == 200
    assert set(answer.cookies) <= {"__Host-csrf"}


def test_the_way_on_is_kept_when_choices_are_taken_from_the_address() -> None:
    answer = browser().get("/login/?next=/keys/&language=en")
    assert answer.headers["Location"] == "/login/?next=%2Fkeys%2F"


@pytest.mark.parametrize("value", ["pink", '"><script>', "", "DARK"])
def test_a_cookie_that_is_no_choice_is_not_drawn(value: str) -> None:
    client = browser()
    client.cookies["theme"] = client.cookies["digits"] = client.cookies["language"] = value
    root = html_of(client)
    assert 'lang="fa"' in root
    assert "data-" not in root


def test_the_language_switch_is_stored_in_the_account_of_a_logged_in_user(sara: Person) -> None:
    client = logged_in(sara)
    assert client.post("/language/", {"language": "en", "next": "/keys/"}).headers["Location"] == "/keys/"
    assert sara.reload().language == "en"
    client.post("/language/", {"language": "xx", "next": "/keys/"})
    assert sara.reload().language == "en"


def test_the_language_switch_without_a_valid_session_changes_no_account(sara: Person) -> None:
    browser().post("/language/", {"language": "en", "next": "/login/"})
    half, ended = people.half_logged_in(sara), logged_in(sara)
    half.post("/language/", {"language": "en", "next": "/login/"})
    sara.user.login_sessions.all().delete()
    ended.post("/language/", {"language": "en", "next": "/login/"})
    assert sara.reload().language == ""


def test_the_language_switch_leads_to_no_other_site(sara: Person) -> None:
    answer = browser().post("/language/", {"language": "en", "next": "https://evil.example/"})
    assert "evil.example" not in answer.headers["Location"]


def test_digits_stay_latin_in_persian_when_that_is_preferred() -> None:
    with translation.override("fa"):
        assert jalali.digits("1405") == "۱۴۰۵"
        token = display_preferences.digits.set("latin")
        assert jalali.digits("1405") == "1405"
        display_preferences.digits.reset(token)


def test_one_visitors_digits_do_not_stay_for_the_next(sara: Person) -> None:
    client = logged_in(sara)
    client.cookies["digits"] = "latin"
    client.get("/dashboard/")
    assert (display_preferences.digits.get(), display_preferences.theme.get()) == ("", "")


@pytest.mark.parametrize("path", ["/nothing/", "/dashboard/", "/freeze/"])
def test_theme_is_in_the_page_before_any_script_runs(sara: Person, path: str) -> None:
    client = logged_in(sara)
    client.cookies["theme"] = "dark"
    assert 'data-theme="dark"' in html_of(client, path)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "1 second"), (59, "59 seconds"), (60, "1 minute"), (61, "2 minutes"), (5400, "90 minutes"),
     (5401, "2 hours"), (86_400, "24 hours")],
)  # fmt: skip
def test_waiting_times_in_words(seconds: int, words: str) -> None:
    with translation.override("en"):
        assert jalali.duration(seconds) == words


def test_too_many_requests_say_when_to_try_again_without_scripts(rf: Any) -> None:
    with translation.override("en"):
        answer = error_pages.too_many(rf.get("/keys/"), 290)
    text = answer.content.decode()
    assert answer.headers["Retry-After"] == "290"
    assert "Try again in <bdi>5 minutes</bdi>, at " in text


def test_a_cookie_of_the_version_before_is_read_and_then_replaced(sara: Person) -> None:
    client = logged_in(sara)
    client.cookies["theme"], client.cookies["digits"], client.cookies["language"] = "dark", "latin", "en"
    assert 'data-theme="dark" data-digits="latin"' in html_of(client, "/dashboard/")
    answer = client.post("/settings/preferences/", {**GOOD, "theme": "light", "digits": "auto"})
    for name in display_preferences.NAMES:
        assert (answer.cookies[name].value, answer.cookies[name]["max-age"]) == ("", 0)
    assert 'data-theme="light"' in html_of(client, "/dashboard/")
    assert "data-digits" not in html_of(client, "/dashboard/")


def test_a_cookie_that_a_neighbour_wrote_does_not_count_beside_the_hosts_own(sara: Person) -> None:
    client = logged_in(sara)
    client.post("/settings/preferences/", GOOD)
    client.cookies["theme"], client.cookies["language"] = "light", "fa"
    root = html_of(client, "/dashboard/")
    assert 'lang="en"' in root
    assert 'data-theme="dark"' in root


def test_the_language_switch_writes_the_cookie_of_this_host_alone() -> None:
    client = browser()
    client.cookies["language"] = "fa"
    answer = client.post("/language/", {"language": "en", "next": "/login/"})
    assert answer.cookies["__Host-language"].value == "en"
    assert answer.cookies["__Host-language"]["secure"]
    assert answer.cookies["language"]["max-age"] == 0
    assert 'lang="en"' in html_of(client)


def test_every_cookie_of_the_portal_is_bound_to_this_host(sara: Person) -> None:
    """Return the display preferences and the trusted device of all responses of a login."""
    client = browser()
    seen = dict(client.get("/login/").cookies)
    seen |= client.post("/login/", {"phone": sara.user.phone, "password": sara.password}).cookies
    answer = client.post("/login/second-factor/?method=totp", {"code": sara.totp(), "trust": "1"})
    seen |= answer.cookies
    seen |= client.get("/dashboard/").cookies
    seen |= client.post("/settings/preferences/", GOOD).cookies
    kept = {name: morsel for name, morsel in seen.items() if morsel.value}
    assert {"__Host-session", "__Host-csrf", "__Host-device", "__Host-theme"} <= set(kept)
    for name, morsel in kept.items():
        assert name.startswith(("__Host-", "__Secure-"))
        assert morsel["secure"]
        assert not morsel["domain"]
