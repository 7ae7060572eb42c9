"""Customers in real browsers: the steps of the portal by visible labels, and the errors that a browser reports.

`tests.conftest` has the fixtures ``portal`` and ``visit``.
"""

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Locator, Response, expect

from tests.support.accessibility import DESKTOP
from tests.support.live_site import Customer, LiveSite

PATIENCE_MS = 20_000
MANAGEMENT, CREATE, SUBMIT, SAVE, CONFIRM = "مدیریت APIها", "ایجاد API", "ارسال", "ذخیره", "تایید"
SMS_CODE, TOTP_CODE = "کد تایید", "کد احراز هویت"
READ, TRADE, WITHDRAW = "خواندن", "معامله", "برداشت"
TRUSTED, UNRESTRICTED = "دسترسی محدود فقط به IP های قابل اعتماد", "بدون محدودیت"
OWN_ADDRESS, NETWORK = "IP فعلی من", "IP یا شبکه (CIDR)"
DELETE = "حذف این API"

#: Counts user actions: pointers going down, and text fields typed into. Reported as they happen.
COUNTER = """
addEventListener("pointerdown", (event) => { if (event.isTrusted) report("click", ""); }, true);
addEventListener("input", (event) => {
  if (event.target.matches("input:not([type=checkbox], [type=radio]), textarea")) report("field", event.target.name);
}, true);
"""


class Window:
    """One browser context, reused by the tests of a process: a new one costs a full Chromium a new renderer process.

    Between two tests its pages are closed, and its cookies, permissions and stored data are removed.
    """

    PERMISSIONS = ("clipboard-read", "clipboard-write")

    def __init__(self, browser: Browser, options: dict[str, Any]) -> None:
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(PATIENCE_MS)
        self.context.expose_binding("report", lambda source, kind, name: self.visitor._counted(kind, name))
        self.context.add_init_script(COUNTER)
        self.visitor: Visitor
        self.free = True

    def clear(self, origin: str) -> None:
        pages = self.context.pages or [self.context.new_page()]
        storage = {"origin": origin, "storageTypes": "all"}
        self.context.new_cdp_session(pages[0]).send("Storage.clearDataForOrigin", storage)
        for page in pages:
            page.close()
        self.context.clear_cookies()
        self.context.clear_permissions()
        self.context.unroute_all(behavior="ignoreErrors")


class Windows:
    """The contexts of one Chromium, by their options."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._all: list[tuple[dict[str, Any], Window]] = []

    def open(self, options: dict[str, Any]) -> Window:
        for made_with, window in self._all:
            if window.free and made_with == options:
                break
        else:
            window = Window(self._browser, options)
            self._all.append((options, window))
        window.free = False
        window.context.grant_permissions(list(Window.PERMISSIONS))
        return window


class Visitor:
    """A customer and a browser. ``complaints``: errors of the console and of the portal."""

    def __init__(self, site: LiveSite, window: Window, customer: Customer, address: str) -> None:
        self.site, self.window, self.customer, self.address = site, window, customer, address
        self.context = context = window.context
        window.visitor = self
        self.complaints: list[str] = []
        self.clicks = 0
        self.fields: set[str] = set()
        self._listeners: list[tuple[str, Callable[[Any], None]]] = []
        self.listen("console", self._heard)
        self.listen("weberror", lambda fault: self.complaints.append(str(fault.error)))
        self.listen("response", self._answered)
        self.page = context.new_page()

    def listen(self, event: str, listener: Callable[[Any], None]) -> None:
        """Call ``listener`` for each such event of the context, until this visitor leaves."""
        self._listeners.append((event, listener))
        self.context.on(event, listener)  # type: ignore[call-overload]

    def leave(self) -> None:
        """Return the context, empty."""
        for event, listener in self._listeners:
            self.context.remove_listener(event, listener)
        self.window.clear(self.site.url)
        self.window.free = True

    def _answered(self, response: Response) -> None:
        if response.status >= 500:
            self.complaints.append(f"{response.status} {response.url}")

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _counted(self, kind: str, name: str) -> None:
        if kind == "click":
            self.clicks += 1
        else:
            self.fields.add(name)

    def forgive(self, status: str) -> None:
        """Remove the console's error for a response that the test expects."""
        message = f"Failed to load resource: the server responded with a status of {status}"
        kept = [
            text
            for text in self.complaints
            if not text.startswith((message, f"Response Status Error Code {status}"))
        ]
        assert len(kept) < len(self.complaints)
        self.complaints = kept

    def open(self, path: str) -> None:
        self.page.goto(self.site.url + path)

    def at(self, path: str) -> None:
        """Wait until the browser is on ``path`` (a glob)."""
        self.page.wait_for_url(self.site.url + path)

    def button(self, name: str) -> Locator:
        return self.page.locator("main").get_by_role("button", name=name, exact=True)

    def give_password(self) -> None:
        self.page.get_by_label("شمارهٔ موبایل", exact=True).fill(self.customer.phone)
        self.page.get_by_label("گذرواژه", exact=True).fill(self.customer.password)
        self.button("ورود").click()

    def log_in(self, target: str = "/dashboard/") -> None:
        """Log in and go to ``target``: in the page if one is open, by requests in an empty window."""
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
        """Send a form of the portal from this browser without rendering its page."""
        page = self.context.request.get(self.site.url + path).text()
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert token is not None, page
        form = {"csrfmiddlewaretoken": token[1], **fields}
        response = self.context.request.post(self.site.url + path, form=form, max_redirects=0)
        assert response.status == 302, (path, response.status, response.text())

    def sms_code(self) -> str:
        return self.site.newest_code(self.customer.phone)

    def name_key(self, name: str) -> None:
        """Step 2, from the dashboard: enter the name and continue to the codes."""
        self.page.locator("main").get_by_role("link", name=MANAGEMENT, exact=True).click()
        self.at("/keys/")
        self.page.get_by_label("نام کلید", exact=True).fill(name)
        self.button(CREATE).click()
        self.at("/keys/new/verify/")

    def give_codes(self) -> None:
        """Step 3: enter the codes without submitting."""
        self.page.get_by_label(SMS_CODE, exact=True).fill(self.sms_code())
        self.page.get_by_label(TOTP_CODE, exact=True).fill(self.customer.totp())

    def make_key(self, name: str) -> tuple[str, str]:
        """Go from the dashboard to the page that shows the new key. Return (key, secret)."""
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
        """Return the addresses of the allow-list on the page."""
        return self.page.locator(".chip bdi").all_inner_texts()

    def lose_session(self) -> None:
        """Simulate an expired session: the browser still sends its cookie, but the session row is gone."""
        key = next(c["value"] for c in self.context.cookies() if c["name"] == "session")
        expired = "UPDATE django_session SET expire_date = '2026-01-01 00:00:00' WHERE session_key = ?"
        self.site.sql(expired, key)

    def keys(self) -> int:
        """Return how many keys this customer has in the database, in any state."""
        rows = self.site.sql(
            "SELECT count(*) FROM apikeys_apikey k JOIN accounts_user u ON u.id = k.owner_id WHERE u.phone = ?",
            self.customer.phone,
        )
        return int(rows[0][0])


Visit = Callable[..., Visitor]


def to_settings(visit: Visit) -> tuple[Visitor, str]:
    """Return a customer on the page that shows a new key, and the secret."""
    sara = visit()
    sara.log_in()
    _key, secret = sara.make_key("ربات")
    return sara, secret


def new_visitor(site: LiveSite, windows: Windows, customer: Customer, **options: Any) -> Visitor:
    """Return a browser of ``customer``. ``options`` are Playwright's: ``java_script_enabled=False``, ``viewport``."""
    address = site.address()
    viewport = options.pop("viewport", DESKTOP)
    window = windows.open({"viewport": DESKTOP, "reduced_motion": "reduce", **options})
    window.context.set_extra_http_headers({"X-Forwarded-For": address})
    visitor = Visitor(site, window, customer, address)
    visitor.page.set_viewport_size(viewport)
    return visitor
