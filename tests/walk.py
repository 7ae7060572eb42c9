"""Customers in real browsers: the steps of the guide by the names that people see, and what a browser complains about.

`tests.conftest` has the fixtures ``portal`` and ``visit``.
"""

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, expect

from tests.eyes import DESKTOP
from tests.live_site import Customer, LiveSite

PATIENCE_MS = 20_000
MANAGEMENT, CREATE, SUBMIT, SAVE, CONFIRM = "مدیریت APIها", "ایجاد API", "ارسال", "ذخیره", "تایید"
SMS_CODE, TOTP_CODE = "کد تایید", "کد احراز هویت"
READ, TRADE, WITHDRAW = "خواندن", "معامله", "برداشت"
TRUSTED, UNRESTRICTED = "دسترسی محدود فقط به IP های قابل اعتماد", "بدون محدودیت"
OWN_ADDRESS, NETWORK = "IP فعلی من", "IP یا شبکه (CIDR)"
DELETE = "حذف این API"

#: Counts what a hand does: pointers going down, and text fields typed into. Reported as it happens.
COUNTER = """
addEventListener("pointerdown", (event) => { if (event.isTrusted) report("click", ""); }, true);
addEventListener("input", (event) => {
  if (event.target.matches("input:not([type=checkbox], [type=radio]), textarea")) report("field", event.target.name);
}, true);
"""


class Visitor:
    """A customer and a browser. ``complaints`` holds what the console and the portal had to find fault with."""

    def __init__(self, site: LiveSite, context: BrowserContext, customer: Customer, address: str) -> None:
        self.site, self.context, self.customer, self.address = site, context, customer, address
        self.complaints: list[str] = []
        self.clicks = 0
        self.fields: set[str] = set()
        context.set_default_timeout(PATIENCE_MS)
        context.on("console", self._heard)
        context.on("weberror", lambda fault: self.complaints.append(str(fault.error)))
        context.on(
            "response",
            lambda answer: (
                self.complaints.append(f"{answer.status} {answer.url}") if answer.status >= 500 else None
            ),
        )
        context.expose_binding("report", self._counted)
        context.add_init_script(COUNTER)
        self.page = context.new_page()

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _counted(self, source: dict[str, Any], kind: str, name: str) -> None:
        if kind == "click":
            self.clicks += 1
        else:
            self.fields.add(name)

    def forgive(self, status: str) -> None:
        """Takes back the console's complaint of an answer that the test has asked for."""
        said = f"Failed to load resource: the server responded with a status of {status}"
        kept = [
            text
            for text in self.complaints
            if not text.startswith((said, f"Response Status Error Code {status}"))
        ]
        assert len(kept) < len(self.complaints)
        self.complaints = kept

    def open(self, path: str) -> None:
        self.page.goto(self.site.url + path)

    def at(self, path: str) -> None:
        """Waits until the browser is on ``path`` (a glob)."""
        self.page.wait_for_url(self.site.url + path)

    def button(self, name: str) -> Locator:
        return self.page.locator("main").get_by_role("button", name=name, exact=True)

    def give_password(self) -> None:
        self.page.get_by_label("شمارهٔ موبایل", exact=True).fill(self.customer.phone)
        self.page.get_by_label("گذرواژه", exact=True).fill(self.customer.password)
        self.button("ورود").click()

    def log_in(self, target: str = "/dashboard/") -> None:
        """Both steps, ending on ``target``: by hand where a page stands open, past the pages in an empty window."""
        if self.page.url == "about:blank":
            self._post("/login/", phone=self.customer.phone, password=self.customer.password)
            self._post("/login/second-factor/", code=self.customer.totp())
            self.open(target)
            self.at(target)
            return
        if "/login/" not in self.page.url:
            self.open("/login/")
        self.give_password()
        self.at("/login/second-factor/")
        self.page.get_by_label(TOTP_CODE, exact=True).fill(self.customer.totp())
        self.button(SUBMIT).click()
        self.at(target)

    def _post(self, path: str, **fields: str) -> None:
        """A form of the portal, sent by this browser without drawing its page."""
        page = self.context.request.get(self.site.url + path).text()
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert token is not None, page
        form = {"csrfmiddlewaretoken": token[1], **fields}
        answer = self.context.request.post(self.site.url + path, form=form, max_redirects=0)
        assert answer.status == 302, (path, answer.status, answer.text())

    def sms_code(self) -> str:
        return self.site.newest_code(self.customer.phone)

    def name_key(self, name: str) -> None:
        """Step 2 of the guide, from the dashboard: the name, and on to the codes."""
        self.page.locator("main").get_by_role("link", name=MANAGEMENT, exact=True).click()
        self.at("/keys/")
        self.page.get_by_label("نام کلید", exact=True).fill(name)
        self.button(CREATE).click()
        self.at("/keys/new/verify/")

    def give_codes(self) -> None:
        """Step 3, without sending them."""
        self.page.get_by_label(SMS_CODE, exact=True).fill(self.sms_code())
        self.page.get_by_label(TOTP_CODE, exact=True).fill(self.customer.totp())

    def make_key(self, name: str) -> tuple[str, str]:
        """From the dashboard to the page that shows the new key: (key, secret)."""
        self.name_key(name)
        self.give_codes()
        self.button(SUBMIT).click()
        expect(self.secret).to_be_visible()
        return self.page.locator("#api-key").inner_text(), self.secret.inner_text()

    @property
    def secret(self) -> Locator:
        return self.page.locator("#api-secret")

    @property
    def network(self) -> Locator:
        return self.page.get_by_label(NETWORK, exact=True)

    def chips(self) -> list[str]:
        """The addresses of the allow-list as it stands on the page."""
        return self.page.locator(".chip bdi").all_inner_texts()

    def lose_session(self) -> None:
        """As after twelve hours: the browser still sends its cookie, and the portal knows it no longer."""
        key = next(c["value"] for c in self.context.cookies() if c["name"] == "session")
        self.site.sql("DELETE FROM django_session WHERE session_key = ?", key)

    def keys(self) -> int:
        """How many keys this customer has in the database, whatever their state."""
        rows = self.site.sql(
            "SELECT count(*) FROM apikeys_apikey k JOIN accounts_user u ON u.id = k.owner_id WHERE u.phone = ?",
            self.customer.phone,
        )
        return int(rows[0][0])


Visit = Callable[..., Visitor]


def to_settings(visit: Visit) -> tuple[Visitor, str]:
    """A customer on the page that shows a new key, and the secret."""
    sara = visit()
    sara.log_in()
    _key, secret = sara.make_key("ربات")
    return sara, secret


def new_visitor(site: LiveSite, browser: Browser, customer: Customer, **options: Any) -> Visitor:
    """A browser of ``customer``. ``options`` are Playwright's: ``java_script_enabled=False``, ``viewport``."""
    address = site.address()
    settings: dict[str, Any] = {
        "viewport": DESKTOP,
        "reduced_motion": "reduce",
        "permissions": ["clipboard-read", "clipboard-write"],
        "extra_http_headers": {"X-Forwarded-For": address},
    }
    return Visitor(site, browser.new_context(**{**settings, **options}), customer, address)
