"""A value that is not understood, or not safe, stops the start with a sentence that names it and does not show it."""

import ast
import base64
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from environs import ValidationError

from hitobit_portal import settings as portal_settings
from hitobit_portal.config import declarations, env, parsers, table
from tests.support.production import ROOT, settings, without_settings

#: Stands in every bad value that can hold it, and in no output.
CANARY = "Kn4ri3nv0gel"
MASTER_KEY = base64.b64encode(bytes(32)).decode()


@dataclass(frozen=True)
class Bad:
    """One wrong environment: what is set (None: missing), and what the start says about it."""

    name: str
    values: dict[str, str | None]
    says: tuple[str, ...] = field(default=())


CASES = {
    "bad bool": Bad("PORTAL_DEMO", {"PORTAL_DEMO": CANARY}),
    "no process": Bad("PORTAL_PROCESSES", {"PORTAL_PROCESSES": "0"}),
    "no port": Bad("PORT", {"PORT": "65536"}),
    "unknown log format": Bad("PORTAL_LOG_FORMAT", {"PORTAL_LOG_FORMAT": CANARY}, ("json",)),
    "unknown way to sign up": Bad("PORTAL_SIGNUP", {"PORTAL_SIGNUP": CANARY}, ("invite",)),
    "unknown replay guard": Bad("PORTAL_REPLAY_GUARD", {"PORTAL_REPLAY_GUARD": CANARY}, ("valkey",)),
    "lease too short": Bad("PORTAL_GATEWAY_LEASE_MS", {"PORTAL_GATEWAY_LEASE_MS": "59"}, ("60", "5000")),
    "fallback that is too short": Bad(
        "PORTAL_SECRET_KEY_FALLBACKS", {"PORTAL_SECRET_KEY_FALLBACKS": CANARY}, ("50 characters",)
    ),
    "no address of mail": Bad("PORTAL_EMAIL_URL", {"PORTAL_EMAIL_URL": f"pigeon://{CANARY}"}, ("smtp",)),
    "contact without a scheme": Bad(
        "PORTAL_SECURITY_CONTACT", {"PORTAL_SECURITY_CONTACT": f"{CANARY}@portal.example"}, ("mailto:",)
    ),
    "contact of two lines": Bad(
        "PORTAL_SECURITY_CONTACT", {"PORTAL_SECURITY_CONTACT": f"mailto:a@b.example\nContact: {CANARY}"}
    ),
    "policy over http": Bad(
        "PORTAL_SECURITY_POLICY", {"PORTAL_SECURITY_POLICY": f"http://{CANARY}.example"}, ("https://",)
    ),
    "API reference over http": Bad(
        "PORTAL_API_DOCS_URL", {"PORTAL_API_DOCS_URL": f"http://{CANARY}.example"}, ("https://",)
    ),
    "languages that are none": Bad(
        "PORTAL_SECURITY_LANGUAGES", {"PORTAL_SECURITY_LANGUAGES": f"{CANARY}!"}, ("fa,en",)
    ),
    "bad int": Bad("PORTAL_PROCESSES", {"PORTAL_PROCESSES": CANARY}),
    "bad log level": Bad("PORTAL_LOG_LEVEL", {"PORTAL_LOG_LEVEL": CANARY}),
    "short secret key": Bad("PORTAL_SECRET_KEY", {"PORTAL_SECRET_KEY": CANARY * 4}, ("50 characters",)),
    "no secret key": Bad("PORTAL_SECRET_KEY", {"PORTAL_SECRET_KEY": None}, ("required",)),
    "bad master key": Bad(
        "PORTAL_MASTER_KEYS", {"PORTAL_MASTER_KEYS": f"a:{MASTER_KEY},b:{CANARY}"}, ("entry 2",)
    ),
    "http outside the demo": Bad(
        "PORTAL_BASE_URL", {"PORTAL_BASE_URL": f"http://{CANARY}.example"}, ("https://",)
    ),
    "any host": Bad("PORTAL_ALLOWED_HOSTS", {"PORTAL_ALLOWED_HOSTS": f"{CANARY}.example,*"}, ("'*'",)),
    "no trusted proxies": Bad("PORTAL_TRUSTED_PROXIES", {"PORTAL_TRUSTED_PROXIES": None}, ("required",)),
    "everybody is a proxy": Bad(
        "PORTAL_TRUSTED_PROXIES", {"PORTAL_TRUSTED_PROXIES": "0.0.0.0/0"}, ("every",)
    ),
    "unknown country": Bad("PORTAL_SMS_COUNTRIES", {"PORTAL_SMS_COUNTRIES": f"IR,{CANARY}"}, ("ISO 3166",)),
    "no country": Bad("PORTAL_SMS_COUNTRIES", {"PORTAL_SMS_COUNTRIES": ","}),
    "unknown name": Bad("PORTAL_TRUSTED_PROXY", {"PORTAL_TRUSTED_PROXY": CANARY}, ("portal.E004",)),
    "processes without redis": Bad(
        "PORTAL_PROCESSES", {"PORTAL_PROCESSES": "2"}, ("portal.E002", "portal.E003")
    ),
    "value and file": Bad("PORTAL_SECRET_KEY", {"PORTAL_SECRET_KEY_FILE": f"/tmp/{CANARY}"}, ("both",)),
    "unreadable file": Bad("DATABASE_URL", {"DATABASE_URL": None, "DATABASE_URL_FILE": "/nonexistent/file"}),
    "http as redis": Bad("REDIS_URL", {"REDIS_URL": f"http://:{CANARY}@cache.example"}, ("redis://",)),
    "sentinels without a service": Bad(
        "REDIS_URL", {"REDIS_URL": f"redis+sentinel://:{CANARY}@a:1,b:2"}, ("service",)
    ),
    "sentinel with a wrong port": Bad(
        "REDIS_URL", {"REDIS_URL": f"redis+sentinel://:{CANARY}@a:x/portal/0"}, ("host:port",)
    ),
    "mysql": Bad("DATABASE_URL", {"DATABASE_URL": f"mysql://u:{CANARY}@db.example/x"}, ("postgresql://",)),
    "no database at all": Bad("DATABASE_URL", {"DATABASE_URL": f"//{CANARY}"}),
}


def environment(directory: Path, values: dict[str, str | None]) -> dict[str, str]:
    merged = {**without_settings(dict(os.environ)), **settings(directory), **values}
    return {name: value for name, value in merged.items() if value is not None}


def manage(directory: Path, values: dict[str, str | None], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=ROOT, env=environment(directory, values), capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, subprocess.CompletedProcess[str]]]:
    """``manage.py check`` in every wrong environment, and in the right one; a second each, three at a time."""
    directory = tmp_path_factory.mktemp("settings")
    everything = {name: bad.values for name, bad in CASES.items()} | {"right": {}}
    with ThreadPoolExecutor(3) as pool:
        yield dict(
            zip(
                everything,
                pool.map(lambda values: manage(directory, values, "check"), everything.values()),
                strict=True,
            )
        )


def test_right_environment_starts(starts: dict[str, subprocess.CompletedProcess[str]]) -> None:
    assert starts["right"].returncode == 0, starts["right"].stderr


@pytest.mark.parametrize("case", CASES)
def test_wrong_environment_stops_the_start_and_is_named(
    case: str, starts: dict[str, subprocess.CompletedProcess[str]]
) -> None:
    bad, result = CASES[case], starts[case]
    output = result.stdout + result.stderr
    assert result.returncode == 1, output
    assert bad.name in output
    for words in bad.says:
        assert words in output


@pytest.mark.parametrize("case", CASES)
def test_start_that_is_refused_does_not_show_the_value(
    case: str, starts: dict[str, subprocess.CompletedProcess[str]]
) -> None:
    output = starts[case].stdout + starts[case].stderr
    assert CANARY not in output
    assert "Traceback" not in output


def test_all_errors_are_reported_at_once(tmp_path: Path) -> None:
    wrong = {
        "PORTAL_SECRET_KEY": "short",
        "PORTAL_MASTER_KEYS": None,
        "PORTAL_BASE_URL": "http://portal.example",
        "PORTAL_TRUSTED_PROXY": "none",  # a typing error in a name
        "PORTAL_GATEWAY_CACHE": "1",
        "DATABASE_URL_FILE": "/nonexistent/file",
        "REDIS_URL": "cache.example",
    }
    result = manage(tmp_path, {**wrong, "DATABASE_URL": None}, "check")
    assert result.returncode == 1
    named = re.findall(r"(?m)^  ([A-Z_]+): .+\.$", result.stderr)
    assert sorted(named) == sorted(name.removesuffix("_FILE") for name in wrong)
    assert f"{len(wrong)} settings are not valid." in result.stderr


def test_error_is_not_repeated_for_what_depends_on_it(tmp_path: Path) -> None:
    """Whether the others are required depends on PORTAL_DEMO."""
    missing = dict.fromkeys(("PORTAL_SECRET_KEY", "PORTAL_MASTER_KEYS", "PORTAL_BASE_URL"))
    result = manage(tmp_path, {**missing, "PORTAL_DEMO": "perhaps"}, "check")
    assert result.stderr == "Configuration error: PORTAL_DEMO: Not a valid boolean.\n"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[dict[str, str]], env.Values]:
    """Load all settings from exactly this environment, and a data directory."""

    def load(values: dict[str, str]) -> env.Values:
        for name in declarations.NAMES:
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(f"{name}_FILE", raising=False)
        for name, value in {"PORTAL_DATA_DIR": str(tmp_path), **values}.items():
            monkeypatch.setenv(name, value)
        return env.load(declarations.SETTINGS, declarations.DEMO)

    return load


def required() -> dict[str, str]:
    """What production has to set, and nothing else."""
    names = {setting.name for setting in declarations.SETTINGS if setting.default is env.REQUIRED}
    return {name: value for name, value in settings(ROOT).items() if name in names}


@pytest.mark.parametrize("in_demo", [False, True])
def test_documented_default_is_the_default(
    load: Callable[[dict[str, str]], env.Values], in_demo: bool
) -> None:
    base = {**required(), "PORTAL_DEMO": str(in_demo).lower()}
    literal = {}
    for name, default in re.findall(r"(?m)^\| `(\w+)`\*? \|.*\| ([^|]+) \| \w+ \|$", table.markdown()):
        production, _, demo = default.partition("; in the demo ")
        if text := re.fullmatch(r"`([^`]*)`", demo if in_demo and demo else production):
            literal[name] = text[1]
    literal.pop("PORTAL_DATA_DIR")  # of the test
    assert len(literal) > 15
    defaults, given = load(base), load({**literal, **base})
    for setting in declarations.SETTINGS:
        # A log level is a word as a default, and a number when it is read.
        if setting.name in literal and setting is not declarations.LOG_LEVEL:
            assert given[setting] == defaults[setting], setting.name


def test_demo_needs_no_setting_and_production_has_no_default_of_the_demo(
    load: Callable[[dict[str, str]], env.Values],
) -> None:
    demo = load({"PORTAL_DEMO": "true", "PORT": "9000"})
    assert demo[declarations.BASE_URL] == "http://127.0.0.1:9000"
    assert (demo[declarations.SIGNUP], demo[declarations.LOG_FORMAT]) == ("open", "line")
    assert load({"PORTAL_DEMO": "true"})[declarations.SECRET_KEY] == demo[declarations.SECRET_KEY]
    production = load(required())
    assert (production[declarations.SIGNUP], production[declarations.LOG_FORMAT]) == ("closed", "json")
    assert production[declarations.ALLOWED_HOSTS] == production[declarations.SMS_BACKENDS] == []


def test_computed_default_depends_on_what_was_given(load: Callable[[dict[str, str]], env.Values]) -> None:
    values = load({**required(), "PORTAL_BASE_URL": "https://keys.example.com:8443"})
    assert values[declarations.EMAIL_FROM] == "Hitobit <no-reply@keys.example.com>"
    assert values[declarations.DATABASE_URL]["NAME"] == str(
        values[declarations.DATA_DIR].resolve() / "portal.sqlite3"
    )


@pytest.mark.parametrize("in_demo", ["true", "false"])
def test_required_setting_that_is_empty_is_not_set(
    load: Callable[[dict[str, str]], env.Values], in_demo: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^PORTAL_TRUSTED_PROXIES: It is not set"):
        load({**required(), "PORTAL_TRUSTED_PROXIES": "", "PORTAL_DEMO": in_demo})


def test_every_declared_setting_is_read() -> None:
    assert portal_settings.values.used == declarations.NAMES
    assert len(declarations.NAMES) == len(declarations.SETTINGS) > 40


def reads_environment(node: ast.AST) -> bool:
    names = {"environ", "environb", "getenv", "getenvb"}
    if isinstance(node, ast.ImportFrom):
        return node.module == "os" and any(alias.name in names for alias in node.names)
    return isinstance(node, ast.Attribute) and node.attr in names and ast.unparse(node.value) == "os"


def test_only_the_declarations_reach_the_environment() -> None:
    """What is read elsewhere would have no default, no check and no documentation."""
    # Programs that start Django name its settings module.
    allowed = 'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hitobit_portal.settings")'
    readers = set()
    for app in ("hitobit_portal", "accounts", "apikeys"):
        for path in (ROOT / app).rglob("*.py"):
            source = path.read_text(encoding="utf-8").replace(allowed, "")
            if any(map(reads_environment, ast.walk(ast.parse(source)))):
                readers.add(str(path.relative_to(ROOT)))
    assert readers == {"hitobit_portal/config/env.py"}


def test_declarations_have_the_names_that_settings_have() -> None:
    for name, value in vars(declarations).items():
        if isinstance(value, env.Setting):
            assert value.name.removeprefix("PORTAL_") == name


@pytest.mark.parametrize("setting", declarations.SETTINGS, ids=str)
def test_setting_is_used_by_the_process_that_its_documentation_names(setting: env.Setting[Any]) -> None:
    name = setting.name.removeprefix("PORTAL_")
    users = {
        str(path.relative_to(ROOT))
        for app in ("hitobit_portal", "accounts", "apikeys")
        for path in (ROOT / app).rglob("*.py")
        if path.parent.name != "config"
        and re.search(rf"\b(?:settings|portal)\.{name}\b", path.read_text(encoding="utf-8"))
    }
    of_gateway = {user for user in users if "gateway" in user}
    if setting.used_by is env.Process.GATEWAY:
        assert of_gateway, users
        assert users - of_gateway <= {"accounts/management/commands/run_demo.py"}  # which starts a gateway
    if setting.used_by is env.Process.PORTAL:
        assert not of_gateway


def test_pure_declarations_need_no_django_settings() -> None:
    modules = [f"hitobit_portal.config.{name}" for name in ("declarations", "env", "parsers", "table")]
    code = f"import {', '.join(modules)}; from django.conf import settings; assert not settings.configured"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={}, check=True, timeout=60)


def test_every_setting_may_come_from_a_file(tmp_path: Path) -> None:
    """As secrets of Docker and systemd do, with the line feed that editors add."""
    given, values = settings(tmp_path), dict[str, str | None]()
    for name in ("PORTAL_SECRET_KEY", "PORTAL_MASTER_KEYS", "DATABASE_URL"):
        path = tmp_path / name.lower()
        path.write_text(f"{given[name]}\n", encoding="utf-8")
        values |= {name: None, f"{name}_FILE": str(path)}
    result = manage(tmp_path, values, "check")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("value", "check"),
    [
        ("accounts.sms.console", "E005"),
        ("accounts.sms.nothing", "E007"),
        ("accounts.models", "E007"),
        ("", "E006"),
    ],
)
def test_sms_back_end_that_cannot_serve_is_refused_at_deployment(
    tmp_path: Path, value: str, check: str
) -> None:
    result = manage(tmp_path, {"PORTAL_SMS_BACKENDS": value}, "check", "--deploy")
    assert result.returncode == 1
    assert f"portal.{check}" in result.stderr


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        (" ,\n", "empty"),
        (MASTER_KEY, "entry 1"),
        (f"a:{MASTER_KEY[:-4]}", "entry 1"),
        (f"a:{MASTER_KEY}!", "entry 1"),
        (f":{MASTER_KEY}", "entry 1"),
        (f"A B:{MASTER_KEY}", "entry 1"),
        (f"UPPER:{MASTER_KEY}", "entry 1"),
        (f"a:{MASTER_KEY},a:{MASTER_KEY}", "entry 2"),
    ],
)
def test_master_keys_that_are_not_understood_are_named_by_position(text: str, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem) as refused:
        parsers.master_keys(text)
    assert MASTER_KEY not in str(refused.value)


def test_ring_keeps_its_order_because_the_first_key_seals() -> None:
    other = base64.b64encode(bytes([1]) * 32).decode()
    ring = parsers.master_keys(f"2026-b:{other}, 2026-a:{MASTER_KEY}\n")
    assert list(ring.items()) == [("2026-b", bytes([1]) * 32), ("2026-a", bytes(32))]


def test_typing_error_in_a_name_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_SECRETKEY_FILE", "/run/secrets/x")
    monkeypatch.setenv("PORTAL_TEST_ANYTHING", "1")
    assert env.unknown_names(declarations.NAMES) == ["PORTAL_SECRETKEY"]


def test_secrets_of_the_settings_are_not_in_the_debug_page(settings: Any) -> None:
    """Django hides settings by their names; the ring's name has to be one that it hides."""
    from django.views.debug import SafeExceptionReporterFilter

    shown = repr(SafeExceptionReporterFilter().get_safe_settings())
    assert settings.SECRET_KEY not in shown
    assert all(repr(key) not in shown for key in settings.MASTER_KEYS.values())


def test_passwords_are_kept_as_argon2id() -> None:
    # The others verify hashes that an exchange brought with its customers, and make none.
    assert portal_settings.PASSWORD_HASHERS[0] == "hitobit_portal.security.passwords.PortalPasswordHasher"
    with override_settings(PASSWORD_HASHERS=portal_settings.PASSWORD_HASHERS):
        assert make_password("x").startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")


def test_figures_of_password_hashes_that_are_too_weak_are_refused(tmp_path: Path) -> None:
    weak = manage(tmp_path, {"PORTAL_PASSWORD_MEMORY": "12"}, "check")
    assert weak.returncode != 0
    assert "PORTAL_PASSWORD_PASSES" in weak.stderr
    assert "weaker than the least figures of OWASP" in weak.stderr
