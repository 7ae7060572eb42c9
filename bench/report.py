"""Write a table of results to the terminal and to a file, with a description of the machine."""

import os
import platform
import re
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results.md"
PROGRAMS = {"nginx": ["nginx", "-v"], "Node": ["node", "--version"], "wrk": ["wrk", "-v"]}
PACKAGES = ("uvloop", "httptools", "granian", "cryptography", "Django", "psycopg")


@dataclass(frozen=True)
class Row:
    name: str
    value: str
    target: str
    details: str = ""


INTRODUCTION = (
    "Written by `make bench`: median (least-most) of the rounds' ratios; server on one core, wrk and\n"
    "PostgreSQL on the other."
)


def write(
    rows: list[Row],
    began: float,
    path: Path = RESULTS,
    title: str = "The gateway's figures",
    introduction: str = INTRODUCTION,
) -> None:
    table = ["| against | reached | must reach | figures |", "|---|---|---|---|"]
    table += [f"| {row.name} | {row.value} | {row.target} | {row.details} |" for row in rows]
    text = "\n".join(
        [
            f"# {title}",
            "",
            f"{introduction} Absolute figures are those of this machine, which had other work, too.",
            "",
            *table,
            "",
            *machine(began),
            "",
        ]
    )
    path.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def machine(began: float) -> list[str]:
    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    programs = [f"{name} {_version(command)}" for name, command in PROGRAMS.items()]
    packages = [f"{name} {version(name)}" for name in PACKAGES]
    averages = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    return [
        f"- {len(os.sched_getaffinity(0))} cores of {cpu[1] if cpu else platform.machine()}, "
        f"Linux {platform.release()}, {ssl.OPENSSL_VERSION}",
        f"- Python {platform.python_version()} ({' '.join(platform.python_build())}, {platform.python_compiler()})",
        f"- {', '.join(programs + packages)}",
        f"- {time.strftime('%Y-%m-%d %H:%M', time.gmtime(began))} UTC, {(time.time() - began) / 60:.0f} minutes; "
        f"load average at the end (1, 5, 15 min): {averages}",
    ]


def _version(command: list[str]) -> str:
    try:
        process = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "missing"
    number = re.search(r"\d+(\.\d+)+", process.stdout + process.stderr)
    return number[0] if number else "?"
