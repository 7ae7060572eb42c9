"""Rules and scrape file of deploy/prometheus, checked by Prometheus' own promtool."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import unavailable
from tests.support.production import ROOT

PROMETHEUS = ROOT / "deploy/prometheus"
CASES = Path(__file__).with_name("alerts.test.yml")
KINDS = ("compose", "systemd")


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    if program is None:
        unavailable("promtool is not installed (Debian: prometheus)")
        raise AssertionError
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)


def installed(directory: Path, kind: str) -> Path:
    """The files as docs/operating.md has them installed. Return the configuration."""
    for name in ("prometheus.yml", "alerts.yml"):
        shutil.copy(PROMETHEUS / name, directory)
    shutil.copytree(PROMETHEUS / kind, directory / "targets")
    (directory / "metrics-token").write_text("hbgw_token\n")
    return directory / "prometheus.yml"


@pytest.mark.parametrize("kind", KINDS)
def test_prometheus_starts_with_the_configuration_and_targets_of(kind: str, tmp_path: Path) -> None:
    result = promtool("check", "config", installed(tmp_path, kind))
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"SUCCESS: \d\d rules found", result.stdout)


@pytest.mark.parametrize("expression", ["1 + sum(up)[5m] > 2", "sum(up"])
def test_promtool_refuses_rules_that_prometheus_would_not_load(expression: str, tmp_path: Path) -> None:
    rules = tmp_path / "alerts.yml"
    rules.write_text(
        yaml.safe_dump({"groups": [{"name": "x", "rules": [{"alert": "X", "expr": expression}]}]})
    )
    assert promtool("check", "rules", rules).returncode != 0


def test_each_alert_fires_on_its_series_and_stays_silent_beside_it(tmp_path: Path) -> None:
    installed(tmp_path, "compose")
    shutil.copy(CASES, tmp_path)
    result = promtool("test", "rules", tmp_path / CASES.name)
    assert result.returncode == 0, result.stdout + result.stderr


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_silent() -> None:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"]}
    fires, silent = set(), set()
    for case in yaml.safe_load(CASES.read_text(encoding="utf-8"))["tests"]:
        for expected in case["alert_rule_test"]:
            if expected["exp_alerts"]:
                fires.add(expected["alertname"])
            else:
                assert case["input_series"], "a case without series tells nothing"
                silent.add(expected["alertname"])
    assert fires == silent == alerts


@pytest.mark.parametrize("kind", KINDS)
def test_targets_are_the_servers_that_run(kind: str) -> None:
    results: dict[str, set[str]] = {}
    for path in (PROMETHEUS / kind).iterdir():
        results[path.stem] = {name for group in yaml.safe_load(path.read_text()) for name in group["targets"]}
    jobs: list[dict[str, Any]] = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    files = {
        Path(entry).stem for job in jobs for config in job["file_sd_configs"] for entry in config["files"]
    }
    assert set(results) == files == {job["job_name"] for job in jobs}
    portals, gateways = servers(kind)
    assert results["portal"] <= portals
    assert len(results["portal"]) == 1, "each process reports the same: two would count twice"
    assert results["portal-gateway"] == gateways
    probes = {f"http://{portal}/readyz" for portal in portals}
    assert results["portal-probe"] == {"https://keys.example.com/login/", *probes}


def servers(kind: str) -> tuple[set[str], set[str]]:
    """Addresses of the portal's servers and of the gateways, from compose.yaml or from the installation."""
    if kind == "compose":
        names = set(yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"])
        return (
            {f"{name}:8000" for name in names if name.startswith("portal-")},
            {f"{name}:8001" for name in names if name.startswith("gateway-")},
        )
    document = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
    line = re.search(r"(?m)^systemctl enable --now (.*)$", document)
    assert line
    ports = {
        unit: {f"127.0.0.1:{port}" for port in re.findall(rf"{unit}@(\d+)", line[1])}
        for unit in ("portal-web", "portal-gateway")
    }
    return ports["portal-web"], ports["portal-gateway"]
