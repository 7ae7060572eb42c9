"""What a page looks like to axe-core, on a window that is too narrow for it, and in a picture."""

import os
import re
from collections import Counter
from pathlib import Path
from typing import Any, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
NARROW = {"width": 320, "height": 700}
Look = tuple[Literal["light", "dark"], dict[str, int]]
#: Both colours and both shapes of a page in two looks: neither changes what the other one decides.
LOOKS: tuple[Look, ...] = (("light", DESKTOP), ("dark", PHONE))
CROSSED: tuple[Look, ...] = (("dark", DESKTOP), ("light", PHONE))
_AXE = Axe()
_OPTIONS: dict[str, Any] = {"resultTypes": ["violations"]}
_pictures: Counter[str] = Counter()


def violations(page: Page) -> str:
    """Axe-core's report, "" when it finds nothing. With PORTAL_TEST_SCREENSHOTS, a picture is kept of what it saw."""
    if target := os.environ.get("PORTAL_TEST_SCREENSHOTS"):
        _keep_picture(page, Path(target))
    results = _AXE.run(page, options=_OPTIONS)
    return str(results.generate_report()) if results.violations_count else ""


def _keep_picture(page: Page, target: Path) -> None:
    """Write the whole page to ``target``/<test>/<number>-<path>-<language>-<theme>-<shape>.png."""
    test = os.environ["PYTEST_CURRENT_TEST"].partition("::")[2].partition("[")[0].partition(" ")[0]
    _pictures[test] += 1
    path = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "id", page.url.partition("//")[2].partition("/")[2])
    name = re.sub(r"[^a-z0-9]+", "-", path.partition("#")[0].lower()).strip("-")[:60] or "start"
    looks = page.evaluate(
        "() => [document.documentElement.lang, matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light', "
        "innerWidth < 600 ? 'phone' : 'desktop', innerWidth, innerHeight, document.documentElement.scrollHeight]"
    )
    # The window as high as the page: what sticks to the window's edges then stands at the page's.
    page.set_viewport_size({"width": looks[3], "height": max(looks[4], looks[5])})
    page.screenshot(path=target / test / f"{_pictures[test]:03}-{name}-{'-'.join(looks[:3])}.png")
    page.set_viewport_size({"width": looks[3], "height": looks[4]})


def wider(page: Page) -> str:
    """The elements that make the page scroll sideways, "" when it does not."""
    return str(
        page.evaluate(
            """() => {
              const root = document.documentElement;
              if (root.scrollWidth <= root.clientWidth) return "";
              const out = [...document.querySelectorAll("body *")].filter((element) => {
                const box = element.getBoundingClientRect();
                return box.width && (box.left < -1 || box.right > root.clientWidth + 1);
              });
              return `${root.scrollWidth} px: ` + out.slice(0, 5).map((e) => e.outerHTML.slice(0, 150)).join(" | ");
            }"""
        )
    )


def dress(page: Page, look: Look) -> None:
    """The page in one look; its own scripts and what a person had folded open stay as they are."""
    theme, size = look
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    page.set_viewport_size(size)  # type: ignore[arg-type]


def faults(page: Page, looks: tuple[Look, ...] = LOOKS) -> list[str]:
    """What is wrong with the page as it stands, in ``looks`` and on 320 px; leaves it on a light desk."""
    result = []
    for look in looks:
        dress(page, look)
        result += [
            f"{look[0]}, {look[1]['width']} px: {report}"
            for report in (violations(page), wider(page))
            if report
        ]
    dress(page, ("light", NARROW))
    result += filter(None, [wider(page)])
    dress(page, ("light", DESKTOP))
    return result
