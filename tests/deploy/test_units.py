"""What is handed to operators: compose.yaml and systemd units."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands

from hitobit_portal.config.declarations import NAMES, SECRETS
from tests.portal.test_settings import manage
from tests.support.production import ROOT

UNITS = ROOT / "deploy/systemd"
OURS = ("portal-a", "portal-b", "gateway-a", "gateway-b", "notices", "migrate")


# --- compose.yaml ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))


def test_two_of_each_a_sender_and_a_migration_run_the_image_unprivileged(compose: Any) -> None:
    services = compose["services"]
    assert set(services) >= {*OURS, "nginx", "postgres", "valkey"}
    for name in OURS:
        service = services[name]
        assert service["image"].startswith("hitobit-portal:")
        assert service["command"][0] in get_commands(), name
        assert ("ports" in service) == name.startswith("gateway-")
    for name in {*services} - {"postgres"}:
        assert services[name]["read_only"] is True, name
        assert services[name]["cap_drop"] == ["ALL"], name
        assert services[name]["security_opt"] == ["no-new-privileges:true"], name
    assert (
        services["nginx"]["networks"]["inside"]["ipv4_address"] + "/32"
        == (services["portal-a"]["environment"]["PORTAL_TRUSTED_PROXIES"])
    )
    assert all(":" in service["image"] for service in services.values())
    hosts = dict(pair.split(":") for pair in services["nginx"]["extra_hosts"])
    assert hosts == {
        name: services[name]["networks"]["inside"]["ipv4_address"] for name in ("portal-a", "portal-b")
    }
    front = (ROOT / "deploy/nginx/portal.conf").read_text(encoding="utf-8")
    assert set(re.findall(r"server (portal-\w):8000", front)) == set(hosts)
    workers = sum(int(services[name]["command"][-1]) for name in ("portal-a", "portal-b"))
    assert int(services["portal-a"]["environment"]["PORTAL_PROCESSES"]) == workers


def test_every_name_in_it_is_a_setting_and_every_secret_a_file(compose: Any) -> None:
    for name in OURS:
        service = compose["services"][name]
        settings = {key.removesuffix("_FILE"): (key, value) for key, value in service["environment"].items()}
        assert set(settings) <= NAMES
        assert {key for key, (given, _value) in settings.items() if given.endswith("_FILE")} == SECRETS & set(
            settings
        )
        for _key, (given, value) in settings.items():
            if given.endswith("_FILE"):
                assert Path(value).parent == Path("/run/secrets")
                assert Path(value).name in service["secrets"]
    used = {secret for service in compose["services"].values() for secret in service.get("secrets", ())}
    assert used == set(compose["secrets"])
    assert all(entry == {"file": f"secrets/{name}"} for name, entry in compose["secrets"].items())
    assert "/secrets/" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    document = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
    assert not [
        name for name in used if f"secrets/{name}" not in document and f"for name in {name}" not in document
    ]


def test_a_secret_of_a_provider_that_is_not_used_may_be_an_empty_file(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    names = ("PORTAL_SMSIR_API_KEY", "PORTAL_KAVENEGAR_API_KEY", "PORTAL_EMAIL_URL")
    values: dict[str, str | None] = {f"{name}_FILE": str(empty) for name in names}
    result = manage(tmp_path, {**values, "PORTAL_EMAIL_URL": None}, "check")
    assert result.returncode == 0, result.stderr


# --- systemd --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root directory with the units and the programs that they name."""
    root = tmp_path_factory.mktemp("system")
    shutil.copytree(UNITS, root / "etc/systemd/system")
    for program in ("opt/portal/current/.venv/bin/python", "bin/kill"):
        (root / program).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("/bin/true", root / program)
    for target in (
        "sysinit",
        "basic",
        "shutdown",
        "multi-user",
        "timers",
        "network-online",
        "time-set",
        "time-sync",
    ):
        (root / f"etc/systemd/system/{target}.target").write_text("[Unit]\nDescription=x\n")
    (root / "etc/systemd/system/-.slice").write_text("[Unit]\nDescription=x\n")
    return root


def test_units_are_understood_and_closed(system: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed; the next test reads the units")
    units = ["portal-web@8000", "portal-gateway@8001", "portal-notices", "portal-tick"]
    names = [f"{unit}.service" for unit in units]
    verified = subprocess.run(
        [analyze, "verify", f"--root={system}", "--man=no", *names, "portal-tick.timer"], capture_output=True, text=True
    )  # fmt: skip
    complaints = [line for line in verified.stderr.splitlines() if "portal-" in line]
    assert complaints == []
    options = ["--offline=true", f"--root={system}", "--threshold=20", "--no-pager"]
    results = subprocess.run([analyze, "security", *options, *names], capture_output=True, text=True)
    # 0 is closed, 10 is open; what is left is that they talk to the network.
    assert results.returncode == 0, results.stdout[-3000:]
    exposures = [float(number) for number in re.findall(r"level for portal-\S+: ([\d.]+)", results.stdout)]
    assert len(exposures) == 4
    assert max(exposures) <= 1.5


def test_units_run_commands_that_exist_with_secrets_as_files() -> None:
    common = (UNITS / "portal-.service.d/common.conf").read_text(encoding="utf-8")
    started = {}
    for path in UNITS.glob("*.service"):
        results = re.findall(
            r"(?m)^ExecStart=/opt/portal/current/\.venv/bin/python manage\.py (\w+)", path.read_text("utf-8")
        )
        assert len(results) == 1, path.name
        started[path.name] = results[0]
    assert set(started.values()) <= set(get_commands())
    names = set(re.findall(r"\b((?:PORTAL|DATABASE|REDIS)_\w+)=", common))
    assert {name.removesuffix("_FILE") for name in names} <= NAMES
    files = {name for name in names if name.removesuffix("_FILE") in SECRETS}
    assert all(name.endswith("_FILE") for name in files)
    loaded = set(re.findall(r"(?m)^LoadCredential=([\w-]+):/etc/portal/secrets/\1$", common))
    assert (
        loaded
        == set(re.findall(r"=%d/([\w-]+)", common))
        == {"secret-key", "master-keys", "database-url", "redis-url"}
    )
