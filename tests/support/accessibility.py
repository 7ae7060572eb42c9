"""What a page looks like to axe-core, and on a window that is too narrow for it."""

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


def violations(page: Page) -> str:
    """Axe-core's report, "" when it finds nothing."""
    results = _AXE.run(page, options=_OPTIONS)
    return str(results.generate_report()) if results.violations_count else ""


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
