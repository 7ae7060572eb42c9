"""MkDocs hook: Mermaid and fonts from this repository instead of other hosts, and right-to-left pages for Persian."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
#: Material's script loads Mermaid from here when a page has a diagram.
REMOTE = '"https://unpkg.com/mermaid@11/dist/mermaid.min.js"'
#: `base` is the relative path from the page to the root of the site.
LOCAL = '(JSON.parse(document.getElementById("__config").textContent).base+"/assets/mermaid.tiny.js")'


def on_files(files: Files, config: Any) -> Files:
    """Add the portal's own Persian font to the site."""
    for name in ("vazirmatn-arabic.woff2", "vazirmatn-latin.woff2"):
        files.append(File.generated(config, f"assets/{name}", abs_src_path=str(ROOT / "static/fonts" / name)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn links to files outside of docs/ (right on a code host) into their paths."""
    return re.sub(r"\[[^\]]*\]\(\.\./([^)#]+)[^)]*\)", r"`\1`", markdown)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Mark the pages below help/fa/ as Persian and right to left."""
    if not page.file.src_uri.startswith("help/fa/"):
        return output
    return output.replace('lang="en"', 'lang="fa"', 1).replace('dir="ltr"', 'dir="rtl"', 1)


def on_post_build(config: Any) -> None:
    """Let Material's script load Mermaid from the site. Raise `ValueError` if a new Material does it otherwise."""
    scripts = list((Path(config["site_dir"]) / "assets/javascripts").glob("bundle.*.min.js"))
    if not scripts:
        raise ValueError("Material's script was not found")
    for script in scripts:
        text = script.read_text(encoding="utf-8")
        if text.count(REMOTE) != 1:
            raise ValueError(f"{script.name} does not load Mermaid from {REMOTE}")
        # The other one is a polyfill for browsers from before 2020 (ResizeObserver).
        text = re.sub(r'"https://unpkg\.com/[^"]*"', '"data:text/javascript,"', text.replace(REMOTE, LOCAL))
        script.write_text(text, encoding="utf-8")
        script.with_suffix(".js.map").unlink(missing_ok=True)
