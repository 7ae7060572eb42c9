"""Every URL of the staff pages, requested by every role: one literal table; no URL contains a sequential id."""

import re
from dataclasses import dataclass
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import URLPattern, URLResolver, reverse
from django.utils import timezone

from accounts import audit
from accounts.choices.events import Event
from accounts.models import AuditEvent, Notice, User, WebhookEndpoint
from accounts.staff.opaque_ids import AccountId, EventId, NoticeId
from accounts.webhooks import endpoints
from apikeys.models import ApiKey
from apikeys.policy.events import KeyEvent
from hitobit_portal.security import crypto
from tests.support.people import Person, customer, key_of, logged_in, newcomer
from tests.support.staff import EVENTS, KEYS, REASON, USERS, events, page_of, staff_member

pytestmark = pytest.mark.django_db
#: "reader": all rights to view and export, and none to list; not a built-in role, but an operator could create it.
ROLES = ("none", "support", "reader", "security", "auditor", "chief")
READS = ("accounts.view_user", "apikeys.view_apikey", "accounts.view_auditevent", "accounts.export_events")
#: URL, and the status of GET and POST for each of ROLES. 302: to another staff page.
TABLE = """
index                            GET   200 200 200 200 200 200
login                            GET   403 403 403 403 403 403
login                            POST  403 403 403 403 403 403
logout                           GET   302 302 302 302 302 302
logout                           POST  302 302 302 302 302 302
accounts_user_changelist         GET   403 200 200 200 200 200
accounts_user_changelist         POST  403 302 302 302 302 302
accounts_user_add                GET   403 403 403 403 403 403
accounts_user_add                POST  403 403 403 403 403 403
accounts_user_change             GET   403 200 200 200 200 200
accounts_user_delete             GET   403 403 403 403 403 403
accounts_user_delete             POST  403 403 403 403 403 403
accounts_user_history            GET   403 302 302 302 302 302
accounts_user_row                GET   403 302 302 302 302 302
accounts_user_act:freeze         GET   403 200 403 200 403 200
accounts_user_act:freeze         POST  403 302 403 302 403 302
accounts_user_act:thaw           GET   403 403 403 200 403 200
accounts_user_act:thaw           POST  403 403 403 302 403 302
accounts_user_act:quarantine     GET   403 403 403 200 403 200
accounts_user_act:quarantine     POST  403 403 403 302 403 302
accounts_user_act:end-sessions   GET   403 403 403 200 403 200
accounts_user_act:end-sessions   POST  403 403 403 302 403 302
accounts_user_act:reset-factors  GET   403 403 403 200 403 200
accounts_user_act:reset-factors  POST  403 403 403 302 403 302
accounts_user_act:stop-reset     GET   403 403 403 200 403 200
accounts_user_act:stop-reset     POST  403 403 403 302 403 302
accounts_user_act:close          GET   403 403 403 200 403 200
accounts_user_act:close          POST  403 403 403 302 403 302
accounts_user_act:reopen         GET   403 403 403 200 403 200
accounts_user_act:reopen         POST  403 403 403 302 403 302
accounts_user_act:confirm-erasure GET   403 403 403 200 403 200
accounts_user_act:confirm-erasure POST  403 403 403 302 403 302
accounts_user_act:erase          GET   403 403 403 200 403 200
accounts_user_act:erase          POST  403 403 403 302 403 302
accounts_user_act:cancel-erasure GET   403 403 403 200 403 200
accounts_user_act:cancel-erasure POST  403 403 403 302 403 302
accounts_user_resend             GET   403 200 403 200 403 200
accounts_user_resend             POST  403 302 403 302 403 302
accounts_auditevent_changelist   GET   403 403 200 200 200 200
accounts_auditevent_changelist   POST  403 403 302 302 302 302
accounts_auditevent_export       GET   403 403 405 403 405 405
accounts_auditevent_export       POST  403 403 403 403 200 200
accounts_auditevent_add          GET   403 403 403 403 403 403
accounts_auditevent_add          POST  403 403 403 403 403 403
accounts_auditevent_change       GET   403 403 200 200 200 200
accounts_auditevent_delete       GET   403 403 403 403 403 403
accounts_auditevent_delete       POST  403 403 403 403 403 403
accounts_auditevent_history      GET   403 403 302 302 302 302
accounts_auditevent_row          GET   403 403 302 302 302 302
accounts_webhookendpoint_changelist GET  403 403 403 200 200 200
accounts_webhookendpoint_change  GET   403 403 403 200 200 200
accounts_webhookendpoint_send    GET   403 403 403 405 403 405
accounts_webhookendpoint_send    POST  403 403 403 302 403 302
accounts_webhookendpoint_add     GET   403 403 403 403 403 403
accounts_webhookendpoint_add     POST  403 403 403 403 403 403
accounts_webhookendpoint_delete  GET   403 403 403 403 403 403
accounts_webhookendpoint_delete  POST  403 403 403 403 403 403
accounts_webhookendpoint_history GET   403 403 403 302 302 302
accounts_webhookendpoint_row     GET   403 403 403 302 302 302
accounts_smsdelivery_changelist  GET   403 200 403 200 200 200
apikeys_apikey_changelist        GET   403 200 200 200 200 200
apikeys_apikey_changelist:freeze POST  403 302 403 302 403 302
apikeys_apikey_changelist:revoke POST  403 403 403 302 403 302
apikeys_apikey_add               GET   403 403 403 403 403 403
apikeys_apikey_add               POST  403 403 403 403 403 403
apikeys_apikey_change            GET   403 200 200 200 200 200
apikeys_apikey_delete            GET   403 403 403 403 403 403
apikeys_apikey_delete            POST  403 403 403 403 403 403
apikeys_apikey_history           GET   403 302 302 302 302 302
apikeys_apikey_row               GET   403 302 302 302 302 302
"""
LINES = [(line.split()[0], line.split()[1], line.split()[2:]) for line in TABLE.strip().splitlines()]
#: What each of ROLES finds without naming a customer or a key: nothing, unless the role may list.
LISTS = f"""
{USERS}                            403 none none all  all all
{USERS}?q=Sara                     403 none none all  all all
{USERS}?state=closed               403 none none none none none
{KEYS}                             403 none none all  all all
{KEYS}?q=secret-bot                403 none none all  all all
{KEYS}?q=s                         403 none none all  all all
{KEYS}?state=active                403 none none all  all all
{KEYS}?permission=read             403 none none all  all all
{KEYS}?policy=trusted              403 none none all  all all
{KEYS}?age=1                       403 none none all  all all
{KEYS}?used=never                  403 none none all  all all
{KEYS}?address=203.0.113.9         403 none none all  all all
{KEYS}?address=203.0.113.0/24&how=listed 403 none none all all all
{KEYS}?before=none                 403 none none all  all all
{EVENTS}                           403 403  none all  all all
{EVENTS}?event=key.renamed         403 403  none all  all all
{EVENTS}?address=198.51.100.77     403 403  none none none none
{EVENTS}?first=2020-01-01          403 403  none all  all all
{EVENTS}?before=newest             403 403  none all  all all
"""
SEEN = [(line.split()[0], line.split()[1:]) for line in LISTS.strip().splitlines()]


@dataclass
class Scene:
    """Return a customer with a key, an event and a sent notice, and the URLs of all."""

    sara: Person
    key: ApiKey
    event: AuditEvent
    notice: Notice
    webhook: WebhookEndpoint

    def ids(self, name: str) -> list[object]:
        act = name.partition(":")[2]
        if name.startswith("accounts_user_act"):
            return [self.sara.user.pk, act]
        if name == "accounts_user_resend":
            return [self.sara.user.pk, self.notice.pk]
        if name == "accounts_webhookendpoint_send":
            return [self.webhook.pk]
        row: dict[str, object] = {
            "user": self.sara.user.pk,
            "auditevent": self.event.pk,
            "apikey": self.key.pk,
            "webhookendpoint": self.webhook.pk,
        }
        model = name.split("_")[1] if "_" in name else ""
        return [row[model]] if name.endswith(("_change", "_delete", "_history", "_row")) else []

    def path(self, name: str) -> str:
        return reverse(f"admin:{name.partition(':')[0]}", args=self.ids(name))


@pytest.fixture
def scene() -> Scene:
    sara = customer(name="Sara")
    key = key_of(sara, "secret-bot")
    key.apply(["read", "trade"], "trusted", ["203.0.113.0/24"])
    event = audit.record(
        KeyEvent.RENAMED, None, customer=sara.user, target=str(key.pk), label="secret-bot", before="x"
    )
    audit.record(Event.ACCOUNT_FROZEN, None, customer=sara.user)
    notice = Notice.objects.filter(user=sara.user, channel="sms").latest("pk")
    Notice.objects.filter(pk=notice.pk).update(sent_at=timezone.now(), attempts=1)
    webhook, _secret = endpoints.create("risk", "https://hooks.example.com/path-1f7c", ["*"])
    return Scene(sara, key, event, notice, webhook)


def at_work(role: str) -> Client:
    if role != "reader":
        return logged_in(staff_member(role))
    reader = staff_member("none", name="reader")
    for right in READS:
        app, codename = right.split(".")
        reader.user.user_permissions.add(
            Permission.objects.get(content_type__app_label=app, codename=codename)
        )
    return logged_in(reader)


def addresses(patterns: list[URLPattern | URLResolver]) -> set[str]:
    result: set[str] = set()
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            result |= addresses(pattern.url_patterns)
        else:
            result.add(pattern.name or str(pattern.pattern))
    return result


def test_the_table_has_every_address_of_the_staffs_pages() -> None:
    elsewhere = {"(?P<url>.*)$"}  # "anything else": 404
    assert {name.partition(":")[0] for name, _m, _s in LINES} | elsewhere == addresses(admin.site.get_urls())


@pytest.mark.parametrize("role", ROLES)
def test_every_address_as_every_role(scene: Scene, role: str) -> None:
    client = at_work(role)
    result, wanted = [], []
    for name, method, statuses in LINES:
        form = {"reason": REASON, "format": "csv", "q": scene.sara.user.phone, "post": "yes"}
        act = name.partition(":")[2]
        if "changelist:" in name:
            form |= {"action": act, "_selected_action": str(scene.key.pk)}
        ApiKey.objects.filter(pk=scene.key.pk).exclude(state="revoked").update(state="active")
        path = scene.path(name)
        response: Any = client.get(path) if method == "GET" else client.post(path, form)
        result.append((name, method, response.status_code))
        wanted.append((name, method, int(statuses[ROLES.index(role)])))
    assert result == wanted


@pytest.mark.parametrize("role", ROLES)
def test_listing_customers_keys_or_events_needs_the_right(scene: Scene, role: str) -> None:
    client = at_work(role)
    result, wanted = [], []
    # Not part of the search: the event of the search itself contains the text.
    marks = (page_of(scene.sara), scene.path("apikeys_apikey_change"))
    for address, cells in SEEN:
        path = address.replace("newest", EventId.hide(scene.event.pk + 1000))
        if "?q=" in path and path.startswith(USERS):
            response: Any = client.post(USERS, {"q": path.partition("q=")[2]}, follow=True)
        else:
            response = client.get(path)
        page = response.content.decode()
        shows = "all" if any(mark in page for mark in marks) else "none"
        assert shows == "all" or not re.search("secret-bot</bdi>|1 key|۱ کلید", page), path
        result.append((address, str(response.status_code) if response.status_code != 200 else shows))
        wanted.append((address, cells[ROLES.index(role)]))
    assert result == wanted


def test_staff_without_list_right_find_named_customers(scene: Scene) -> None:
    key, sara = scene.key, scene.sara
    whole, shown = key.key_id, f"{key.key_id[:6]}…{key.key_id[-4:]}"
    for role in ("support", "reader"):
        client: Any = at_work(role)
        for text in (whole, shown):
            assert [one.pk for one in client.get(KEYS, {"q": text}).context_data["keys"]] == [key.pk], role
        # No part of it, and nothing that a key of another customer could have.
        for text in (whole[:-1], whole[:6], f"{whole[:5]}…{whole[-4:]}", f"{whole[:6]}…", "…", "______…____"):
            assert list(client.get(KEYS, {"q": text}).context_data["keys"]) == [], text
    reader: Any = at_work("reader")
    for filters in ({"whom": sara.user.phone}, {"target": str(key.pk)}):
        response = reader.post(EVENTS, filters, follow=True)
        assert scene.event in [row.event for row in response.context_data["events"]], filters
        assert reader.post(f"{EVENTS}export/", {**filters, "format": "csv"}).status_code == 200
    # SECURITY: ids of accounts and notices are small numbers; the response would reveal the opaque id.
    for filters in ({"whom": str(sara.user.pk)}, {"who": str(sara.user.pk)}, {"target": "1"}):
        response = reader.post(EVENTS, filters)
        assert (response.status_code, response.context_data["events"]) == (200, []), filters
        assert 'aria-invalid="true"' in response.content.decode(), filters
        assert reader.post(f"{EVENTS}export/", {**filters, "format": "csv"}).status_code == 400


def test_an_address_takes_no_number_of_an_account_or_a_phone(scene: Scene) -> None:
    client: Any = at_work("auditor")
    for value in (str(scene.sara.user.pk), scene.sara.user.phone, f"0{scene.sara.user.phone[3:]}"):
        for name in ("who", "whom"):
            response = client.get(EVENTS, {name: value})
            assert response.context_data["events"] == [], (name, value)
            assert 'aria-invalid="true"' in response.content.decode(), (name, value)
    assert client.get(EVENTS, {"target": str(scene.notice.pk)}).context_data["events"] == []
    search = at_work("support").get(USERS, {"q": scene.sara.user.phone})
    assert page_of(scene.sara) not in search.content.decode()
    for fields in ({"whom": str(scene.sara.user.pk)}, {"target": str(scene.notice.pk)}, {"who": "1"}):
        target = client.post(EVENTS, fields)["Location"]
        assert not counting(target), target


def test_viewed_pages_are_recorded_by_id(scene: Scene) -> None:
    auditor = at_work("auditor")
    auditor.post(EVENTS, {"who": scene.sara.user.phone}, follow=True)
    assert [e.detail["filters"] for e in events("staff.searched")] == [{"who": str(scene.sara.user.pk)}]
    auditor.get(page_of(scene.sara))
    auditor.get(scene.path("accounts_auditevent_change"))
    auditor.get(scene.path("apikeys_apikey_change"))
    assert [(e.customer, e.target) for e in events("staff.viewed")] == [
        (scene.sara.user, ""), (scene.sara.user, str(scene.event.pk)), (scene.sara.user, str(scene.key.pk)),
    ]  # fmt: skip


def counting(address: str) -> bool:
    """Return whether another row of ``address`` can be reached by counting."""
    parts = urlsplit(address)
    values = [*parts.path.split("/"), *(value for name, value in parse_qsl(parts.query))]
    return any(re.fullmatch(r"\d+", value) for value in values)


def linked(page: str) -> set[str]:
    """Return the staff URLs that the page links or sends forms to; a relative URL belongs to the page itself."""
    result = re.findall(r'(?:href|action)="([^"]*)"', page)
    return {unescape(one) for one in result if one.startswith(("/admin/", "?"))}


def kind(address: str) -> str:
    """Return the URL without ids and filter values."""
    return re.sub(r"=[^&]*|[a-z2-7]{26}|[0-9a-f-]{36}", "", address)


def test_no_address_on_any_page_counts_up(scene: Scene) -> None:
    for _n in range(60):
        audit.record(Event.LOGIN, None, customer=scene.sara.user)
    client = at_work("chief")
    waiting = {"/admin/", EVENTS, KEYS, USERS}
    done: set[str] = set()
    while waiting:
        path = waiting.pop()
        done.add(path)
        response = client.get(path, follow=True)
        result = linked(response.content.decode()) if response.status_code == 200 else set()
        for address in result:
            assert not counting(address), (path, address)
            whole = address if address.startswith("/") else f"{path.partition('?')[0]}{address}"
            # Two of each kind: hundreds of events have the same page.
            if whole not in done and sum(kind(one) == kind(whole) for one in done) < 2:
                waiting.add(whole)
    assert any("before=" in path for path in done)
    assert any("/notice/" in path for path in done)
    assert any("/act/" in path for path in done)


@pytest.mark.parametrize("role", ["support", "security", "auditor", "chief"])
def test_a_wrong_id_is_the_404_of_an_address_that_does_not_exist(scene: Scene, role: str) -> None:
    client = at_work(role)
    typed = newcomer()
    User.objects.filter(pk=typed.user.pk).update(joined_at=None)
    pk, key = scene.sara.user.pk, str(scene.key.pk)
    wrong = [
        "1", str(pk), "0", "-1", "x", "a" * 26, "a" * 5000, "۱", "%00", "..", "None",
        AccountId.hide(pk)[:-1], AccountId.hide(pk).upper(), AccountId.hide(pk) + "a", f"{AccountId.hide(pk)}%0A",
        AccountId.hide(10**9), AccountId.hide(typed.user.pk), NoticeId.hide(pk), EventId.hide(pk),
        *spellings(AccountId.hide(pk)),
    ]  # fmt: skip
    if role in ("support", "security"):
        wrong.append(AccountId.hide(staff_member("auditor").user.pk))
    forms = {bare(client.get("/admin/nowhere/"))}
    for one in wrong:
        forms.add(bare(client.get(f"{USERS}{one}/change/")))
        if role in ("security", "chief"):
            forms.add(bare(client.get(f"{USERS}{one}/act/freeze/")))
            forms.add(bare(client.post(f"{USERS}{one}/act/freeze/", {"reason": REASON})))
            good = page_of(scene.sara).removesuffix("change/")
            if one != NoticeId.hide(
                pk
            ):  # a right id where a notice of the customer happens to have that number
                forms.add(bare(client.get(f"{good}notice/{one}/")))
    for one in ("1", key[:-1], key.upper(), "{" + key + "}", "00000000-0000-4000-8000-000000000000"):
        forms.add(bare(client.get(f"{KEYS}{one}/change/")))
    if role != "support":
        for one in (str(scene.event.pk), AccountId.hide(scene.event.pk), EventId.hide(10**9)):
            forms.add(bare(client.get(f"{EVENTS}{one}/change/")))
        for one in (str(scene.event.pk), AccountId.hide(scene.event.pk), "x"):
            forms.add(bare(client.get(EVENTS, {"before": one})))
    assert len(forms) == 1
    assert next(iter(forms))[0] == 404


def spellings(hidden: str) -> list[str]:
    """Return the other texts that base32 decodes to the same bytes: two bits of the last letter are ignored."""
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    first = letters.index(hidden[-1]) // 4 * 4
    return [hidden[:-1] + last for last in letters[first : first + 4] if last != hidden[-1]]


def bare(response: Any) -> tuple[int, str]:
    """Return a response without the parts that differ between requests."""
    page = re.sub(r'value="[A-Za-z0-9]{64}"|nonce="[^"]*"', "", response.content.decode())
    page = re.sub(r'name="next" value="[^"]*"', "", page)
    return response.status_code, page.replace(response.headers.get("X-Request-ID", "\0"), "")


def test_an_id_opens_with_any_master_key_that_is_listed_and_no_other(settings: Any) -> None:
    old = settings.MASTER_KEYS
    made = AccountId.hide(17)
    settings.MASTER_KEYS = {"new": b"n" * 32, **old}
    assert (AccountId.reveal(made), AccountId.hide(17) != made) == (17, True)
    settings.MASTER_KEYS = {"new": b"n" * 32}
    assert AccountId.reveal(made) is None


def test_ids_tell_nothing_of_their_order_or_their_kind() -> None:
    hidden = [AccountId.hide(n) for n in range(1, 300)]
    assert len(set(hidden)) == len(hidden)
    assert sorted(hidden) != hidden
    assert not set(hidden) & {EventId.hide(n) for n in range(1, 300)}
    assert [AccountId.reveal(one) for one in hidden] == list(range(1, 300))
    assert all(EventId.reveal(one) is None for one in hidden)
    assert all(re.fullmatch("[a-z2-7]{26}", one) for one in hidden)
    assert (
        crypto.reveal_number("staff-id-account", crypto.hide_number("staff-id-account", 2**64 - 1))
        == 2**64 - 1
    )
