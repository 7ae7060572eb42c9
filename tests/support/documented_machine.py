"""A machine on which the commands of docs/operating.md are run as they are written there.

The shell and the project's own files are real: ``portal-manage``, the units, the processes, the database. Only
directories and ports are replaced by free ones. Programs that would change this machine (``apt-get``, ``useradd``,
``systemctl``, the installation of packages) are replaced by small programs below; ``systemctl`` reads the units and
runs what they say, and ``runuser`` runs statements of SQL on the PostgreSQL of the test.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psycopg

from tests.support.production import ROOT, without_settings
from tests.support.servers import Postgres, Valkey, free_port

DOCUMENT = ROOT / "docs/operating.md"
SOURCES = ("accounts", "apikeys", "deploy", "hitobit_portal", "locale", "static", "templates")
FILES = ("manage.py", "requirements.txt")
DIRECTORIES = (
    *("/opt/portal", "/etc/portal", "/var/lib/portal", "/run/portal-drain"),
    *("/usr/local/bin", "/etc/systemd/system"),
)
PORTS = ("8000", "8010", "8001", "8011")


def blocks(marker: str, document: Path = DOCUMENT) -> list[str]:
    """The shell blocks between ``<!-- follow: marker -->`` and ``<!-- follow: end -->`` of a document."""
    text = document.read_text(encoding="utf-8")
    results = re.search(rf"<!-- follow: {marker} -->\n(.*?)<!-- follow: end -->", text, re.DOTALL)
    assert results, marker
    shell = re.findall(r"(?ms)^( *)```sh\n(.*?)^\1```$", results[1])
    return [textwrap.dedent(block) for _indent, block in shell]


class Machine:
    """``root`` has the directories; `run` runs commands of the document, `stop` ends what they started."""

    def __init__(self, root: Path, postgres: Postgres, valkey: Valkey) -> None:
        self.root = root
        self.ports = {
            **{port: str(free_port()) for port in PORTS},
            "127.0.0.1/portal": f"127.0.0.1:{postgres.port}/portal",
            "127.0.0.1:6379": f"127.0.0.1:{valkey.port}",
        }
        self.postgres = postgres.url("postgres")
        for directory in (*DIRECTORIES, "/shims", "/run"):
            (root / directory.lstrip("/")).mkdir(parents=True, exist_ok=True)
        for name, text in SHIMS.items():
            path = root / "shims" / name
            path.write_text(text.replace("@PYTHON@", sys.executable).replace("@ROOT@", str(root)))
            path.chmod(0o755)

    def localized(self, text: str) -> str:
        """``text`` with the directories and ports of this machine."""
        text = re.sub(rf"(?<![\w/])(?=(?:{'|'.join(DIRECTORIES)})\b)", str(self.root), text)
        return re.sub(rf"\b(?:{'|'.join(self.ports)})\b", lambda results: self.ports[results[0]], text)

    def sources(self, name: str) -> Path:
        """A directory with this project's files, as somebody downloads them."""
        directory = self.root / name
        directory.mkdir()
        for each in SOURCES:
            shutil.copytree(ROOT / each, directory / each, ignore=shutil.ignore_patterns("__pycache__"))
        for each in FILES:
            shutil.copy(ROOT / each, directory)
        for path in [directory / "deploy/portal-manage", *(directory / "deploy/systemd").rglob("*.*")]:
            if path.is_file():
                path.write_text(self.localized(path.read_text(encoding="utf-8")), encoding="utf-8")
        return directory

    def run(self, cwd: Path, *commands: str) -> None:
        """Run the commands in one shell, as somebody who pastes them one after another."""
        script = "set -eu\n" + "\n".join(self.localized(block) for block in commands)
        environ = {
            **{
                name: value
                for name, value in without_settings(dict(os.environ)).items()
                if name != "PYTHONPATH"
            },
            "PATH": f"{self.root}/shims:{self.root}/usr/local/bin:{os.environ['PATH']}",
            "MACHINE_POSTGRES": self.postgres,
        }
        environ = {name: value for name, value in environ.items() if not name.startswith("PORTAL_TEST")}
        with (self.root / "commands.log").open("ab") as log:
            result = subprocess.run(
                ["sh", "-c", script],
                cwd=cwd,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                umask=0o027,
            )
        assert result.returncode == 0, self.tail()

    def tail(self) -> str:
        logs = [self.root / "commands.log", *sorted((self.root / "run").glob("*.log"))]
        return "\n".join(
            f"{path.name}:\n{path.read_text(encoding='utf-8', errors='replace')[-2000:]}" for path in logs
        )

    def stop(self) -> None:
        for path in (self.root / "run").glob("*.pid"):
            try:
                os.killpg(int(path.read_text()), signal.SIGKILL)
            except (OSError, ValueError):
                pass


def stop_unit(pid_file: Path, seconds: float) -> None:
    """As systemd with KillMode=mixed: SIGTERM to the main process, SIGKILL to all when the time is over."""
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text())
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    break
        except FileNotFoundError:
            break
        time.sleep(0.05)
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def start_unit(root: Path, unit: str) -> None:
    """Start the ``unit`` as its file says."""
    units = root / "etc/systemd/system"
    template, _, instance = unit.partition("@")
    path = units / (f"{template}@.service" if instance else f"{template}.service")
    text = path.read_text() + (units / "portal-.service.d/common.conf").read_text()
    lines = [line.partition("=") for line in text.splitlines() if not line.startswith("#")]
    values = [(key, value) for key, equals, value in lines if equals]
    credentials = root / "etc/portal/secrets"
    environ = {"PATH": os.environ["PATH"]}
    for key, value in values:
        if key == "EnvironmentFile":
            given = [line.partition("=") for line in Path(value).read_text().splitlines()]
            environ |= {name: value for name, equals, value in given if equals}
    for key, value in values:
        if key == "Environment":
            words = [word.partition("=") for word in shlex.split(value.replace("%d", str(credentials)))]
            environ |= {name: value for name, _equals, value in words}
    fields = dict(values)
    command = shlex.split(fields["ExecStart"].replace("%i", instance))
    with (root / f"run/{unit}.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=Path(fields["WorkingDirectory"]).resolve(), env=environ, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    (root / f"run/{unit}.pid").write_text(str(process.pid))


def runuser(arguments: list[str]) -> None:
    """``runuser -u postgres -- psql -c STATEMENT -c STATEMENT``. The role is there: the cluster belongs to it."""
    assert arguments[:4] == ["-u", "postgres", "--", "psql"]
    with psycopg.connect(os.environ["MACHINE_POSTGRES"], autocommit=True) as connection:
        for statement in arguments[5::2]:
            connection.execute(statement.replace("CREATE ROLE", "ALTER ROLE").encode())


def systemctl(root: Path, arguments: list[str]) -> None:
    """``restart``, ``enable --now``, ``daemon-reload``. Units of other kinds than services are not run."""
    verb, *units = [argument for argument in arguments if not argument.startswith("--")]
    assert verb in ("restart", "enable", "daemon-reload"), verb
    for unit in units:
        if not unit.endswith(".timer"):
            stop_unit(root / f"run/{unit}.pid", 30)
            start_unit(root, unit)


SHIMS = {
    "apt-get": "#!/bin/sh\n",
    "useradd": "#!/bin/sh\n",
    "python3.11": """#!/bin/sh
# `python3.11 -m venv .venv`: the packages are those that the tests run with.
[ "$*" = "-m venv .venv" ] || exec @PYTHON@ "$@"
mkdir -p .venv/bin
cat > .venv/bin/python <<'END'
#!/bin/sh
[ "$1 $2 $3" = "-m pip install" ] || exec @PYTHON@ "$@"
END
printf '#!/bin/sh\\nexec @PYTHON@ -m babel.messages.frontend "$@"\\n' > .venv/bin/pybabel
chmod 0755 .venv/bin/*
""",
    # Accounts of the machine are not made, and so nothing belongs to them.
    "chgrp": "#!/bin/sh\n",
    "install": """#!/bin/bash
words=()
while [ $# -gt 0 ]; do
    case $1 in -o|-g) shift;; *) words+=("$1");; esac
    shift
done
exec /usr/bin/install "${words[@]}"
""",
    "runuser": f'#!/bin/sh\nPYTHONPATH={ROOT} exec @PYTHON@ -m tests.support.documented_machine sql "$@"\n',
    "setpriv": '#!/bin/sh\nwhile [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"\n',
    "systemctl": f'#!/bin/sh\nPYTHONPATH={ROOT} exec @PYTHON@ -m tests.support.documented_machine @ROOT@ "$@"\n',
}

if __name__ == "__main__":
    if sys.argv[1] == "sql":
        runuser(sys.argv[2:])
    else:
        systemctl(Path(sys.argv[1]), sys.argv[2:])
