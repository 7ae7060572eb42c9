"""A browser's name for people: "Firefox, Windows". Only for display; nothing is decided by it."""

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

#: Characters of a User-Agent header that are stored.
AGENT_LENGTH = 200


def from_request(request: HttpRequest) -> str:
    """What the browser calls itself, as it is stored: free text of a stranger, at most LENGTH characters."""
    return plain(request.headers.get("User-Agent", "")[:LENGTH])[:LENGTH]


def describe(agent: str) -> str:
    """E.g. ``"Chrome, Android"``; the first words of anything else; "" for nothing."""
    browser = next((name for mark, name in BROWSERS if mark in agent), "")
    system = next((name for mark, name in SYSTEMS if mark in agent), "")
    return ", ".join(filter(None, (browser, system))) or plain(agent.split("/")[0][:30])
