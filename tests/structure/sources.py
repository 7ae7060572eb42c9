"""What the source says about its own shape: its files and imports, read without running it."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support.production import ROOT

PACKAGES = ("hitobit_portal", "accounts", "apikeys")


@cache
def tracked() -> tuple[Path, ...]:
    """The project's files relative to its root, committed or about to be; never what git ignores."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return tuple(Path(name) for name in sorted(listing.split("\0")) if name and (ROOT / name).is_file())


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Every Python module of the product as (dotted name, syntax tree); migrations are not written by hand."""
    for path in tracked():
        if path.suffix == ".py" and path.parts[0] in PACKAGES and "migrations" not in path.parts:
            yield dotted(path), ast.parse((ROOT / path).read_text(encoding="utf-8"), str(path))


def dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imports(module: str, tree: ast.Module, is_package: bool = False) -> set[str]:
    """All that ``module`` imports, as dotted names, wherever in it; ``from a import b`` gives ``a`` and ``a.b``."""
    result: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            result.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                kept = parts[: len(parts) - node.level + is_package]
                base = ".".join([*kept, *filter(None, [node.module])])
            result.add(base)
            result.update(f"{base}.{name.name}" for name in node.names)
    return result


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")
