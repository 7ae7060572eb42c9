"""The import graph: which package may import which, without cycles, and by public names only."""

import ast
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.structure.sources import imports, sources
from tests.support.production import ROOT

#: Packages of each app from the ground up. A package imports from lower rows, and from its own row only leftwards.
ORDER = {
    "accounts": (
        ("choices", "models"),
        ("access", "sms"),
        ("audit",),
        ("notifications", "factors", "webhooks"),
        ("actions",),
        ("transfer", "login", "oidc", "registration", "profile", "staff", "operations"),
        ("templatetags", "management", "admin", "apps", "backends"),
    ),
    "apikeys": (
        ("verification", "policy"),
        ("models",),
        ("actions",),
        ("usage",),
        ("client_api", "debugger", "gateway", "management_api", "pages", "staff", "operations"),
        ("templatetags", "management", "admin", "apps"),
    ),
}
#: Importable without Django's settings: what decides is a function of its arguments.
PURE = (
    "accounts.choices",
    "apikeys.verification",
    "apikeys.gateway.fastpath",
    "apikeys.gateway.http",
    "apikeys.gateway.routes",
)
#: The debugger's engine; its forms, views and session are Django's.
PURE_MODULES = (
    *(f"apikeys.policy.{name}" for name in (
        "account_freeze", "approvals", "choices", "events", "names", "power", "public_keys", "rights",
    )),
    *(f"apikeys.debugger.{name}"
    for name in (
        "causes", "checks", "curl", "diagnosis", "payload_candidates", "request_parser", "search",
        "secret_masking", "signature_candidates", "syntax_checks",
    )),
)  # fmt: skip


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    """Module → the product's modules that it imports, also within functions; not what only a type checker imports."""
    trees = {name: without_type_checking(tree) for name, tree in sources()}
    results = {}
    for name, tree in trees.items():
        targets = imports(name, tree, (ROOT / name.replace(".", "/")).is_dir())
        results[name] = {target for target in targets if target in trees}
    assert len(results) > 150, "the walk over the sources finds too few modules"
    return results


def without_type_checking(tree: ast.Module) -> ast.Module:
    kept = [
        node
        for node in tree.body
        if not (
            isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        )
    ]
    return ast.Module(kept, tree.type_ignores)


def place(app: str, package: str) -> tuple[int, int]:
    for row, names in enumerate(ORDER[app]):
        if package in names:
            return row, names.index(package)
    raise AssertionError(f"{app}/{package} has no place in ORDER")


def test_packages_import_only_what_lies_below_them(graph: dict[str, set[str]]) -> None:
    wrong = []
    for name, targets in graph.items():
        app, _, rest = name.partition(".")
        for target in targets if app in ORDER and rest else ():
            other, _, below = target.partition(".")
            if other != app or not below or below.split(".")[0] == rest.split(".")[0]:
                continue
            if place(app, below.split(".")[0]) > place(app, rest.split(".")[0]):
                wrong.append(f"{name} imports {target}")
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle(graph: dict[str, set[str]]) -> None:
    # A package's own `__init__` may name its modules; that is no dependency of theirs on it.
    edges = {
        name: {target for target in targets if not name.startswith(f"{target}.")}
        for name, targets in graph.items()
    }
    assert list(circles(edges)) == []


def circles(edges: dict[str, set[str]]) -> Iterator[list[str]]:
    """Strongly connected components of more than one module (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(node: str) -> Iterator[list[str]]:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(edges.get(node, ())):
            if target not in index:
                yield from visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                yield sorted(component)

    for node in sorted(edges):
        if node not in index:
            yield from visit(node)


def test_a_circle_would_be_found() -> None:
    assert list(circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == [["a", "b", "c"]]


def public_names() -> dict[str, set[str]]:
    """Package → ``__all__`` of its ``__init__``."""
    results = {}
    for name, tree in sources():
        if not (ROOT / name.replace(".", "/")).is_dir():
            continue
        for node in tree.body:
            if isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets
            ):
                results[name] = set(ast.literal_eval(node.value))
    return results


def test_every_package_says_what_it_is_for_and_what_is_public() -> None:
    public = public_names()
    exempt = {"accounts", "apikeys", "hitobit_portal"}
    for name, tree in sources():
        is_package = (ROOT / name.replace(".", "/")).is_dir()
        if is_package and name not in exempt and not {"management", "templatetags"} & set(name.split(".")):
            assert name in public, f"{name} has no __all__"
            assert ast.get_docstring(tree), f"{name} has no docstring"


def test_other_packages_import_only_public_names(graph: dict[str, set[str]]) -> None:
    public = public_names()
    wrong = defaultdict(set)
    for name, tree in sources():
        for target in imports(name, tree, (ROOT / name.replace(".", "/")).is_dir()):
            parts = target.split(".")
            for length in range(2, len(parts)):
                package = ".".join(parts[:length])
                outside = not name.startswith(f"{package}.") and name != package
                if outside and package in public and parts[length] not in public[package]:
                    wrong[name].add(target)
    assert dict(wrong) == {}


@pytest.mark.parametrize("package", [*PURE, *PURE_MODULES])
def test_pure_packages_are_imported_without_settings(package: str) -> None:
    """With an empty environment there is no Django configuration: an import of a model or a setting fails."""
    program = (
        "import importlib, pkgutil, sys\n"
        f"package = importlib.import_module({package!r})\n"
        "for module in pkgutil.iter_modules(getattr(package, '__path__', []), package.__name__ + '.'):\n"
        "    importlib.import_module(module.name)\n"
        "from django.conf import settings\n"
        "assert not settings.configured\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "assert 'redis' not in loaded and 'psycopg' not in loaded, 'a service is loaded'\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-2000:]


def test_few_modules_lie_directly_in_an_app() -> None:
    results = [
        str(path.relative_to(ROOT))
        for app in ("accounts", "apikeys", "hitobit_portal")
        for path in (ROOT / app).glob("*.py")
    ]
    assert len(results) <= 20, sorted(results)


def test_only_the_conftest_lies_directly_in_tests() -> None:
    results = {path.name for path in (ROOT / "tests").glob("*.py")}
    assert results <= {"__init__.py", "conftest.py"}
