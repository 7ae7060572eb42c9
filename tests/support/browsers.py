"""Finds a real Chromium, and knows how it is started where there is no screen and no network."""

import os
import shutil
from pathlib import Path

from tests.support.servers import Missing

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def chromium() -> str:
    """The path of a Chromium: CHROMIUM, the system's, or Playwright's own. Raises `Missing`."""
    # The headless shell is the same engine without a desktop browser around it: a walk takes 2.0 s and not 3.6.
    names = (
        "chromium-headless-shell",
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
    )
    candidates = [os.environ.get("CHROMIUM"), *(shutil.which(name) for name in names)]
    cache = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH", Path.home() / ".cache" / "ms-playwright"))
    candidates += sorted(map(str, cache.glob("chromium-*/chrome-linux*/chrome")), reverse=True)
    for candidate in candidates:
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    raise Missing("No Chromium: install Debian's chromium, or set CHROMIUM to the path of one.")
