"""The table of settings in docs/operating.md, made from the declarations.

``python -m hitobit_portal.config.table`` prints it; ``--write`` updates the document.
"""

import re
import sys
from typing import Any

from hitobit_portal.config import declarations
from hitobit_portal.config.env import REQUIRED, SAME, Section, Setting

DOCUMENT = declarations.ROOT / "docs" / "operating.md"
BEGIN, END = "<!-- settings: begin -->", "<!-- settings: end -->"


def markdown() -> str:
    """One table for each section. A star marks secrets."""
    lines: list[str] = []
    for section in Section:
        lines += [f"### {section.value}", "", "| name | meaning | default | used by |", "|---|---|---|---|"]
        lines += [
            f"| `{setting}`{'*' * setting.secret} | {setting.help} | {_defaults(setting)} | {setting.used_by.value} |"
            for setting in declarations.SETTINGS
            if setting.section is section
        ]
        lines.append("")
    return "\n".join(lines).rstrip("\n")


def _defaults(setting: Setting[Any]) -> str:
    default = setting.default_help or _shown(setting.default)
    # What production must set, the demo makes up; how is of no interest to operators.
    if setting.demo is SAME or setting.default is REQUIRED:
        return default
    return f"{default}; in the demo {_shown(setting.demo)}"


def _shown(default: Any) -> str:
    if default is REQUIRED:
        return "required"
    if default == "" or default == []:
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{','.join(default)}`" if isinstance(default, list) else f"`{default}`"


def written_into(text: str) -> str:
    """The document ``text`` with the current table between its marks."""
    return re.sub(
        f"{re.escape(BEGIN)}.*?{re.escape(END)}",
        lambda _match: f"{BEGIN}\n{markdown()}\n{END}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        DOCUMENT.write_text(written_into(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(markdown())
