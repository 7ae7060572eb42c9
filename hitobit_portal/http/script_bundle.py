"""Join the ES modules that a script imports into one script, so that a browser fetches one file.

The modules stay readable files of their own; `collectstatic` joins them (`staticfiles.HashedStaticFiles`). Each becomes
a function that returns what it exports, in the order in which they need one another. Only the forms of ``import`` and
``export`` that the modules use are understood; anything else raises `BundleError`: nothing is left out silently.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_IMPORT = re.compile(r'import \{([A-Za-z, ]+)\} from "\./([a-z]+\.js)";')
_EXPORT = re.compile(r"export (?:async function|function|const) ([A-Za-z]+)\b")
#: What is left of a form that is not understood.
_STATEMENTS, _EXPRESSIONS = re.compile(r"(?:import|export)\b"), ("import(", "import (", "import.meta")


class BundleError(ValueError):
    """A module has a form of import or export that is not understood, or modules import one another in a circle."""


def modules(entry: str, read: Callable[[str], str]) -> dict[str, str]:
    """Return what to join: the module ``entry`` behind all that it needs, by name. ``read`` returns a module's text."""
    result: dict[str, str] = {}
    _add(entry, read, result, ())
    return result


def _add(name: str, read: Callable[[str], str], result: dict[str, str], importers: tuple[str, ...]) -> None:
    """Add ``name`` behind what it needs."""
    if name in result:
        return
    if name in importers:
        raise BundleError(f"{name} imports itself by {importers[-1]}")
    lines, exported = [], []
    for line in read(name).splitlines():
        imports, exports = _IMPORT.fullmatch(line), _EXPORT.match(line)
        kept = line
        if imports:
            _add(imports[2], read, result, (*importers, name))
            kept = f"const {{{imports[1]}}} = {_variable(imports[2])};"
        elif exports:
            exported.append(exports[1])
            kept = line.removeprefix("export ")
        if (imports and " as " in line) or _is_not_understood(kept):
            raise BundleError(f"{name}: {line.strip()}")
        lines.append(kept)
    if exported:
        lines.append(f"return {{ {', '.join(exported)} }};")
    body = "\n".join(lines)
    result[name] = f"const {_variable(name)} = (() => {{\n{body}\n}})();\n"


def _is_not_understood(line: str) -> bool:
    return _STATEMENTS.match(line.strip()) is not None or any(form in line for form in _EXPRESSIONS)


def _variable(name: str) -> str:
    return f"${name.removesuffix('.js')}"
