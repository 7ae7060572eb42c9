"""The house keeps its shape: who imports whom, what a module may be called, what lies where."""

import ast
import re
import subprocess
import sys

import pytest

from tests.structure.sources import imports, sources, tracked, within
from tests.support.production import ROOT, settings, without_settings

ROOMS = {"accounts", "apikeys", "hitobit_portal", "locale", "static", "templates", "tests"}
BESIDES = {".ci", ".github", "bench", "docs", "deploy", "examples"}
#: The parts of the site that put the apps together; everything else in hitobit_portal is a leaf.
ASSEMBLY = {"hitobit_portal.settings", "hitobit_portal.urls", "hitobit_portal.wsgi"}
#: Pure modules import the standard library, `cryptography` and one another.
PURE = (
    *(
        "apikeys.verification.signing",
        "apikeys.verification.signature_check",
        "apikeys.verification.networks",
        "apikeys.verification.outcomes",
        "apikeys.verification.records",
        "apikeys.policy.public_keys",
        "apikeys.verification.decision",
    ),
    *(
        "apikeys.usage.clock_skew",
        "apikeys.usage.chart",
        "apikeys.usage.request_line",
        "apikeys.policy.names",
    ),
    # The debugger: what was pasted, what it means, and what differs from what would verify.
    *(
        "apikeys.debugger.curl",
        "apikeys.debugger.request_parser",
        "apikeys.debugger.syntax_checks",
        "apikeys.debugger.secret_masking",
        "apikeys.debugger.budget",
    ),
    *(
        "apikeys.debugger.causes",
        "apikeys.debugger.payload_candidates",
        "apikeys.debugger.signature_candidates",
        "apikeys.debugger.search",
    ),
    *("apikeys.debugger.checks", "apikeys.debugger.diagnosis"),
    "accounts.choices.clock_drift",
    "hitobit_portal.http.client_ip",
    "hitobit_portal.i18n.free_text",
)
#: A module of the left kind never imports one of the right kinds of its own app.
LAYERS = {"models": ("forms", "views", "admin", "gateway"), "forms": ("views", "admin", "gateway")}


def is_package(name: str) -> bool:
    return (ROOT / name.replace(".", "/")).is_dir()


@pytest.fixture(scope="module")
def modules() -> dict[str, set[str]]:
    result = {name: imports(name, tree, is_package(name)) for name, tree in sources()}
    assert len(result) > 20, "the walk over the sources finds nothing"
    return result


def test_leaves_import_no_app(modules: dict[str, set[str]]) -> None:
    wrong = [
        (name, other)
        for name, others in modules.items()
        if within(name, "hitobit_portal") and name not in ASSEMBLY
        for other in others
        if within(other, "accounts") or within(other, "apikeys")
    ]
    assert wrong == []


def test_accounts_never_imports_apikeys(modules: dict[str, set[str]]) -> None:
    wrong = [
        (name, other)
        for name, others in modules.items()
        if within(name, "accounts")
        for other in others
        if within(other, "apikeys")
    ]
    assert wrong == []


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_import_neither_django_nor_models(modules: dict[str, set[str]], name: str) -> None:
    assert name in modules
    allowed = {*sys.stdlib_module_names, "cryptography"}
    wrong = [
        other
        for other in modules[name]
        if other.partition(".")[0] not in allowed
        and not (is_package(other) and not modules.get(other))  # the package itself imports nothing
        and not any(within(other, pure) for pure in PURE)
    ]
    assert wrong == []


def test_models_and_forms_do_not_look_up(modules: dict[str, set[str]]) -> None:
    wrong = []
    for name, others in modules.items():
        app, _, rest = name.partition(".")
        above = LAYERS.get(rest.split(".")[0].split("_")[0], ())
        for other in others:
            if within(other, app) and other.removeprefix(f"{app}.").split(".")[0].split("_")[0] in above:
                wrong.append((name, other))
    assert wrong == []


def test_product_never_imports_tests(modules: dict[str, set[str]]) -> None:
    assert [name for name, others in modules.items() if any(within(other, "tests") for other in others)] == []


def test_modules_are_named_for_what_they_know() -> None:
    vague = {"services", "utils", "helpers", "common"}
    assert [str(path) for path in tracked() if path.suffix == ".py" and path.stem in vague] == []
    assert [str(path) for path in tracked() if vague & set(path.parts[:-1])] == []


def test_top_level_holds_the_rooms_of_the_design() -> None:
    result = {path.parts[0] for path in tracked() if len(path.parts) > 1}
    assert result >= ROOMS
    assert result <= ROOMS | BESIDES


def test_nothing_is_switched_off_for_the_tests() -> None:
    """The settings know no test mode: what is tested is what runs."""
    for name, tree in sources():
        words = {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not any("PYTEST" in word for word in words), name


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_lock_files_pin_and_hash_and_name_no_place(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"https?:|file:/|--(extra-)?index-url|--find-links|--trusted-host|(^|\s)/\w", text)
    entries = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"(?m)^\s*#.*\n?", "", text).strip())
    assert len(entries) > 20
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==\S+ \\\n\s+--hash=sha256:[0-9a-f]{64}", entry), (
            entry[:80]
        )


def test_ignored_files_are_not_needed_by_git() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-ci", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    assert listed.stdout == ""


def test_settings_of_the_tests_are_those_of_production() -> None:
    assert settings(ROOT)["PORTAL_DEMO"] == "false"
    assert "PORTAL_SECRET_KEY" not in without_settings({"PORTAL_SECRET_KEY": "x"})
