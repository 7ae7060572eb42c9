"""Reads a Dockerfile, and does what its steps do in a directory: as much of a build as needs no container engine."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from tests.structure.sources import tracked
from tests.support.production import ROOT

#: Directories of the image; here they are below a directory of the test.
IMAGE_PATHS = re.compile(r"(?<![\w./-])/(portal|packages|build|data)(?![\w-])")
#: The image's interpreter is Debian's; on another system the tests' own stands in for it.
INTERPRETER = "/usr/bin/python3.11"


@dataclass
class Stage:
    """The instructions of one FROM, in their order."""

    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return [text for instruction, text in self.steps if instruction == name]

    def exec_form(self, name: str) -> list[str]:
        """The words of the last ``name``, which must be a JSON array: there is no shell."""
        words = json.loads(self.all(name)[-1])
        assert isinstance(words, list)
        return [str(word) for word in words]


def parse(path: Path) -> tuple[dict[str, str], list[Stage]]:
    """The arguments before the first stage, and the stages."""
    text = re.sub(r"(?m)^\s*#.*\n", "", path.read_text(encoding="utf-8"))
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in filter(None, (line.strip() for line in re.sub(r"\\\n\s*", "", text).splitlines())):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            stages.append(Stage(rest))
        elif not stages:
            assert name == "ARG", line
            key, _, value = rest.partition("=")
            arguments[key] = value
        else:
            stages[-1].steps.append((name, rest.strip()))
    return arguments, stages


def context() -> list[Path]:
    """The project's files that .dockerignore lets through, relative to its root."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert lines[0] == "*", "a list of what is let through; secrets and data must not get in by being new"
    through = [line[1:].rstrip("/") for line in lines if line.startswith("!")]
    return [path for path in tracked() if path.parts[0] in through and path.suffix != ".mo"]


class Build:
    """``directory`` is the image's root."""

    def __init__(self, directory: Path) -> None:
        self.root = directory
        self.environ: dict[str, str] = {}
        self.workdir = directory

    def here(self, text: str) -> str:
        return IMAGE_PATHS.sub(rf"{self.root}/\1", text)

    def set(self, text: str) -> None:
        for pair in shlex.split(text):
            name, _, value = pair.partition("=")
            self.environ[name] = self.here(value.replace(":/packages", f":{self.root}/packages"))

    def run(self, command: str, shell_environ: dict[str, str]) -> None:
        """Raises `AssertionError` when the step fails."""
        if " pip install " in command:
            return self._install(self.root / "packages")
        environ = {**shell_environ, **self.environ, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
        result = subprocess.run(
            ["/bin/sh", "-ec", self.here(command)], cwd=self.workdir, env=environ, capture_output=True, text=True
        )  # fmt: skip
        assert result.returncode == 0, result.stderr[-3000:]
        return None

    def _install(self, target: Path) -> None:
        """What pip would install: the locked versions, which the tests' environment has; its hashes it checked."""
        for name, version in locked():
            results = metadata.distribution(name)
            assert results.version == version, f"{name} {results.version} is installed, {version} is locked"
            for file in results.files or ():
                if ".." in file.parts or "__pycache__" in file.parts:
                    continue
                source = Path(str(file.locate()))
                if source.is_file():
                    copy = target / file
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, copy)

    def copy_context(self) -> None:
        for path in context():
            copy = self.workdir / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, copy)

    def size(self, *names: str) -> int:
        """Bytes in these directories of the image."""
        return sum(
            path.lstat().st_size for name in names for path in (self.root / name).rglob("*") if path.is_file()
        )

    def interpreter(self) -> str:
        return INTERPRETER if os.access(INTERPRETER, os.X_OK) else sys.executable


def locked() -> list[tuple[str, str]]:
    """(name, version) of each package in requirements.txt."""
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    return re.findall(r"(?m)^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(\S+)", text)
