"""Browser names for display, such as "Firefox, Windows". No decision depends on them."""

from django.http import HttpRequest

from hitobit_portal.i18n.free_text import plain

LENGTH = 200

BROWSERS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
SYSTEMS = (
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)

#: Maximum number of characters of a User-Agent header that are stored.
AGENT_LENGTH = 200


def from_request(request: HttpRequest) -> str:
    """Return the User-Agent header as it is stored: untrusted text, at most LENGTH characters."""
    return plain(request.headers.get("User-Agent", "")[:LENGTH])[:LENGTH]


def describe(agent: str) -> str:
    """Return for example ``"Chrome, Android"``, the first words of an unknown agent, or "" for an empty one."""
    browser = next((name for mark, name in BROWSERS if mark in agent), "")
    system = next((name for mark, name in SYSTEMS if mark in agent), "")
    return ", ".join(filter(None, (browser, system))) or plain(agent.split("/")[0][:30])
