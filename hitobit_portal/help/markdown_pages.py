"""Pages of docs/help as HTML. The documentation site is made of the same files, by the same library."""

import functools
import re
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element  # nosec B405: nothing is parsed

from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor

from hitobit_portal.help.topics import TOPICS

DIRECTORY = Path(__file__).resolve().parents[2] / "docs" / "help"
#: The portal's address in the examples of the files.
EXAMPLE_ORIGIN = "https://keys.example.com"
LINK = re.compile(r"(?P<topic>[a-z]+)\.md(?P<section>[#][a-z-]+)?")


class Page(NamedTuple):
    topic: str
    title: str
    summary: str
    html: SafeString


class _PortalLinks(Treeprocessor):
    """Point links between files at the pages of the portal, and keep the title and the first paragraph."""

    title = summary = ""

    def run(self, root: Element) -> None:
        for link in root.iter("a"):
            target = LINK.fullmatch(link.get("href", ""))
            if target:
                link.set("href", reverse("help_page", args=[target["topic"]]) + (target["section"] or ""))
        self.title = "".join(next(root.iter("h1")).itertext())
        self.summary = "".join(next(root.iter("p")).itertext())


class _PortalExtension(Extension):
    def __init__(self, links: _PortalLinks) -> None:
        super().__init__()
        self.links = links

    def extendMarkdown(self, md: Markdown) -> None:
        # After the inline patterns (20), which make the links.
        md.treeprocessors.register(self.links, "portal_links", 5)


@functools.cache
def page(language: str, topic: str, origin: str) -> Page:
    """Return one page of the help. ``origin`` replaces the example's address."""
    text = (DIRECTORY / language / f"{topic}.md").read_text(encoding="utf-8").replace(EXAMPLE_ORIGIN, origin)
    links = _PortalLinks()
    html = Markdown(
        extensions=["attr_list", "fenced_code", "tables", _PortalExtension(links)], output_format="html"
    ).convert(text)
    # SECURITY: not sanitised, because the files are part of the release and nobody writes them at run time. Tests allow
    # a few elements and attributes, and the CSP allows no inline script.
    return Page(topic, links.title, links.summary, mark_safe(html))  # nosec


def pages(language: str, origin: str) -> list[Page]:
    return [page(language, topic, origin) for topic in TOPICS]
