"""Mutation testing of the security core: changes one operator, condition or argument at a time and runs its tests.

    python -m tests.support.mutants --module accounts/factors/verification.py --most 20

A mutant that no test notices survives. docs/mutants.md lists the known ones with the reason why each is acceptable; any
other makes the exit code 1. Mutants are made from the syntax tree, always the same ones in the same order, and each has
an id that does not change when its module is moved or grows. Not part of CI: a mutant takes seconds to a minute.
"""

import argparse
import ast
import copy
import functools
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg
from psycopg import sql

from tests.support import production
from tests.support.servers import Postgres, Valkey

#: Each module with the tests that have to notice, files or single ones, the quickest first. A pattern has to match.
MODULES: dict[str, list[str]] = {
    "accounts/factors/verification.py": [
        "accounts/factors/test_verification.py",
        "accounts/choices/test_clock_drift.py",
        "portal/test_limits_in_figures.py",
        "accounts/registration/test_password_reset.py",
        "accounts/profile/test_totp.py",
        "races/test_codes.py::test_sixty_wrong_codes_at_once_are_counted_exactly_and_five_are_compared",
    ],
    "accounts/factors/lockout.py": [
        "accounts/factors/test_verification.py",
        "portal/test_limits_in_figures.py",
        "accounts/registration/test_password_reset.py",
    ],
    "accounts/factors/sms_codes.py": [
        "accounts/factors/test_sms_codes.py",
        "portal/test_limits_in_figures.py",
        "accounts/factors/test_verification.py",
        "accounts/registration/test_signup.py",
        "accounts/profile/test_phone.py",
        "races/test_codes.py::test_sixty_requests_for_an_sms_send_one",
    ],
    "accounts/access/middleware.py": [
        "accounts/login/test_own_proofs.py",
        "accounts/access/test_default_deny.py",
        "accounts/login/test_login.py",
    ],
    "accounts/access/pending_login.py": [
        "accounts/login/test_login.py",
        "portal/test_limits_in_figures.py",
        "accounts/login/test_enrolment.py",
        "accounts/profile/test_sessions.py",
        "accounts/profile/test_totp.py",
    ],
    "accounts/access/form_drafts.py": [
        "portal/test_limits_in_figures.py",
        "accounts/access/test_form_drafts.py",
        "accounts/login/test_login.py",
    ],
    "accounts/access/trusted_devices.py": [
        "accounts/login/test_devices.py",
        "portal/test_limits_in_figures.py",
    ],
    "apikeys/verification/signing.py": [
        "apikeys/verification/test_signing.py",
        "apikeys/verification/test_decision.py",
    ],
    "apikeys/verification/networks.py": [
        "apikeys/verification/test_networks.py",
        "apikeys/verification/test_decision.py",
    ],
    "apikeys/verification/decision.py": [
        "apikeys/verification/test_decision.py",
        "apikeys/verification/test_constant_work.py",
    ],
    "apikeys/gateway/authorizer.py": [
        "apikeys/gateway/test_authorizer*.py",
        "apikeys/gateway/test_split_streams.py",
    ],
    "apikeys/gateway/fastpath/query.py": [
        "apikeys/gateway/test_fast_path.py",
        "apikeys/gateway/test_repeated_requests.py",
        "apikeys/gateway/test_split_streams.py",
    ],
    "apikeys/gateway/fastpath/verifiers.py": [
        "apikeys/gateway/test_fast_path.py",
        "apikeys/gateway/test_repeated_requests.py",
        "apikeys/gateway/test_split_streams.py",
    ],
    "apikeys/gateway/fastpath/prepared_key.py": [
        "apikeys/gateway/test_fast_path.py",
        "apikeys/gateway/test_repeated_requests.py",
        "apikeys/gateway/test_authorizer*.py",
    ],
    "apikeys/gateway/fastpath/rate_limits.py": [
        "apikeys/gateway/test_split_streams.py",
        "apikeys/gateway/test_authorizer*.py",
    ],
}
MOST = 20
KNOWN = "docs/mutants.md"
#: s, and times what the tests of the module took without a mutant.
SPARE, SLOWER = 60, 4
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", "var", "__pycache__", ".*_cache", ".hypothesis", "screenshots", "node_modules"
)
COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "all": "any", "any": "all"}
METHODS = {"filter": "exclude", "exclude": "filter"}
#: Methods whose result is another form of the same thing: the call is left out.
FORMS = {"lower", "upper", "strip", "lstrip", "rstrip", "casefold", "encode", "distinct", "select_for_update"}
#: What decides nothing.
IDLE = {"logger", "logging", "TypeVar", "re", "cast", "dataclass", "field", "lru_cache", "super", "struct"}


@dataclass(frozen=True)
class Mutant:
    """One change: the text from ``start`` to ``end`` (bytes of the module) becomes ``new``."""

    module: str
    line: int
    scope: str
    start: int
    end: int
    old: str
    new: str
    text: str
    occurrence: int = 0

    @property
    def id(self) -> str:
        """The same after a move: of the names around it and the change itself."""
        text = "\0".join((self.scope, self.old, self.new, str(self.occurrence)))
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def __str__(self) -> str:
        place = f"{self.module}:{self.line}  {self.scope}  [{self.id}]"
        around = f"  in  {_short(self.text)}" if len(self.old) < 20 else ""
        return f"{place}  {_short(self.old)}  ->  {_short(self.new)}{around}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 90 else f"{line[:60]} ... {line[-25:]}"


@dataclass
class Finder(ast.NodeVisitor):
    """Finds the mutants of one module, by the order of its text."""

    module: str
    source: bytes
    result: list[Mutant] = field(default_factory=list)
    scopes: list[str] = field(default_factory=list)

    def all(self) -> list[Mutant]:
        lengths = [len(line) for line in self.source.splitlines(keepends=True)]
        self.begins = [sum(lengths[:n]) for n in range(len(lengths) + 1)]
        tree = ast.parse(self.source)
        self.visit(tree)
        counts: Counter[tuple[str, str, str]] = Counter()
        numbered, same = [], {ast.dump(tree)}
        for mutant in sorted(self.result, key=lambda one: (one.start, one.end, one.new)):
            key = (mutant.scope, mutant.old, mutant.new)
            one = replace(mutant, occurrence=counts[key])
            counts[key] += 1
            if (dump := ast.dump(ast.parse(mutated(self.source, one)))) not in same:
                same.add(dump)
                numbered.append(one)
        return numbered

    def change(self, node: ast.expr | ast.stmt, new: str) -> None:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self.begins[node.lineno - 1] + node.col_offset
        end = self.begins[node.end_lineno - 1] + node.end_col_offset
        scope = ".".join(self.scopes) or "module"
        old = self.source[start:end].decode()
        text = self.source.splitlines()[node.lineno - 1].decode()
        self.result.append(Mutant(self.module, node.lineno, scope, start, end, old, new, text))

    def express(self, node: ast.expr, other: ast.expr) -> None:
        self.change(node, f"({ast.unparse(other)})")

    # What is not entered: annotations, documentation, texts, what decides nothing.

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.scopes.append(node.name)
        for default in [*node.args.defaults, *filter(None, node.args.kw_defaults)]:
            self.visit(default)
        for statement in node.body:
            self.visit(statement)
        self.scopes.pop()

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.scopes.append(node.name)
        for statement in node.body:
            self.visit(statement)
        self.scopes.pop()

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Before Python 3.12, places inside of it are not those of the file."""

    def visit_Raise(self, node: ast.Raise) -> None:
        self.change(node, "pass")

    def visit_Assert(self, node: ast.Assert) -> None:
        """Of types, for the most part."""

    # Statements.

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call) and not _is_idle(node.value):
            self.change(node, "pass")
            self.generic_visit(node)
        elif not isinstance(node.value, ast.Constant | ast.Call):
            self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None and not isinstance(node.value, ast.Constant):
            self.change(node, "return None")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        other = copy.deepcopy(node)
        if type(node.op) in COMPUTED:
            other.op = COMPUTED[type(node.op)]()
            self.change(node, ast.unparse(other))
        self.generic_visit(node)

    def visit_Break(self, node: ast.Break) -> None:
        self.change(node, "continue")

    def visit_Continue(self, node: ast.Continue) -> None:
        self.change(node, "break")

    def visit_If(self, node: ast.If | ast.While | ast.IfExp) -> None:
        if ast.unparse(node.test) == "TYPE_CHECKING":
            return
        # Of comparisons and `not`, the opposite is one of the mutants below.
        if not isinstance(node.test, ast.Compare | ast.UnaryOp):
            self.express(node.test, ast.UnaryOp(ast.Not(), node.test))
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self.visit_If(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit_If(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self.change(test, "True")
        self.generic_visit(node)

    # Expressions.

    def visit_Compare(self, node: ast.Compare) -> None:
        for place, operator in enumerate(node.ops):
            other = copy.deepcopy(node)
            other.ops[place] = COMPARED[type(operator)]()
            self.express(node, other)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        other = copy.deepcopy(node)
        other.op = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
        self.express(node, other)
        for place in range(len(node.values)):
            rest = [value for n, value in enumerate(node.values) if n != place]
            self.express(node, rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest))
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self.express(node, node.operand)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        texts = (ast.JoinedStr, ast.Constant)
        is_text = any(
            isinstance(side, texts) and not isinstance(getattr(side, "value", ""), int)
            for side in (node.left, node.right)
        )
        if type(node.op) in COMPUTED and not is_text:
            other = copy.deepcopy(node)
            other.op = COMPUTED[type(node.op)]()
            self.express(node, other)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self.change(node, str(not node.value))
        elif isinstance(node.value, int):
            self.change(node, str(node.value + 1))

    def visit_Call(self, node: ast.Call) -> None:
        if _is_idle(node):
            return
        for place, keyword in enumerate(node.keywords):
            if keyword.arg is not None:
                other = copy.deepcopy(node)
                del other.keywords[place]
                self.express(node, other)
        if isinstance(node.func, ast.Attribute) and node.func.attr in FORMS:
            self.express(node, node.func.value)
        other = copy.deepcopy(node)
        if (
            isinstance(other.func, ast.Attribute)
            and other.func.attr in METHODS
            and other.args + other.keywords
        ):
            other.func.attr = METHODS[other.func.attr]
            self.express(node, other)
        if isinstance(other.func, ast.Name) and other.func.id in NAMES:
            other.func.id = NAMES[other.func.id]
            self.express(node, other)
        self.generic_visit(node)


def _is_idle(node: ast.Call) -> bool:
    """Whether the call is of something that decides nothing: a log, a type, a pattern."""
    name: ast.expr = node.func
    while isinstance(name, ast.Attribute):
        name = name.value
    return isinstance(name, ast.Name) and name.id in IDLE


def mutated(source: bytes, mutant: Mutant) -> bytes:
    return source[: mutant.start] + mutant.new.encode() + source[mutant.end :]


@functools.cache
def every(module: str) -> list[Mutant]:
    return Finder(module, (production.ROOT / module).read_bytes()).all()


def chosen(module: str, most: int) -> list[Mutant]:
    """At most ``most`` mutants of the module (0: all), always the same ones, by their place."""
    sample = sorted(every(module), key=lambda mutant: mutant.id)[: most or None]
    return sorted(sample, key=lambda mutant: mutant.start)


def tests_of(module: str) -> list[str]:
    result: list[str] = []
    for pattern in MODULES[module]:
        pattern, colons, test = pattern.partition("::")
        files = sorted(production.ROOT.glob(f"tests/{pattern}"))
        if not files:
            sys.exit(f"No tests match tests/{pattern}, which the table has for {module}.")
        result += [f"{file.relative_to(production.ROOT)}{colons}{test}" for file in files]
    return list(dict.fromkeys(result))


running: set[subprocess.Popen[str]] = set()
stopped = threading.Event()


def stop(_number: int, _frame: object) -> None:
    """Ends the tests that run, and this program."""
    stopped.set()
    for process in list(running):
        os.killpg(process.pid, signal.SIGKILL)
    sys.exit(1)


class Bench:
    """A copy of the tree with a database of its own, in which one mutant at a time is tested."""

    def __init__(self, number: int, directory: Path, postgres: Postgres, valkey: Valkey) -> None:
        self.postgres, self.database = postgres, f"portal{number}"
        self.tree = directory / f"tree{number}"
        self.stamp = time.time()
        shutil.copytree(production.ROOT, self.tree, ignore=NOT_COPIED, symlinks=True)
        # The suite asks git which files are the project's.
        subprocess.run(["git", "init", "--quiet"], cwd=self.tree, check=True)
        self.servers = directory / f"servers{number}.json"
        redis = valkey.url(2 * number)
        url = postgres.url(self.database)
        given = {
            "PORTAL_TEST_DATABASE": "postgresql", "DATABASE_URL": url, "PORTAL_TEST_POSTGRES_URL": url,
            "REDIS_URL": redis, "PORTAL_TEST_VALKEY_URL": redis,
        }  # fmt: skip
        self.servers.write_text(json.dumps(given), encoding="utf-8")

    def write(self, module: str, source: bytes) -> None:
        """With another time than any before: Python takes a compiled module for the same by seconds and length."""
        path = self.tree / module
        path.write_bytes(source)
        self.stamp += 2
        os.utime(path, (self.stamp, self.stamp))

    def run(self, tests: list[str], seconds: float) -> tuple[str, float, str]:
        """(how it ended, how long it took, the end of the output)."""
        self._fresh_database()
        environ = production.without_settings(dict(os.environ))
        # Hypothesis always tries the same examples.
        environ |= {"CI": "true", "PORTAL_TEST_SERVERS": str(self.servers)}
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "--no-header",
            "-p",
            "no:cacheprovider",
            *tests,
        ]
        begun = time.monotonic()
        process = subprocess.Popen(
            command, cwd=self.tree, env=environ, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        running.add(process)
        try:
            output, _nothing = process.communicate(timeout=seconds)
            how = {0: "survived", 1: "killed", 5: "no tests"}.get(process.returncode, "killed")
        except subprocess.TimeoutExpired:
            # Servers of the tests end with the process that started them.
            os.killpg(process.pid, signal.SIGKILL)
            output, how = process.communicate()[0], "timeout"
        finally:
            running.discard(process)
        return how, time.monotonic() - begun, output[-3000:]

    def _fresh_database(self) -> None:
        """SECURITY of the result: what a mutant left behind must not fail the tests of the next one."""
        with psycopg.connect(self.postgres.url("postgres"), autocommit=True) as connection:
            name = sql.Identifier(f"test_{self.database}")
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE migrated").format(name))


def migrate(directory: Path, postgres: Postgres) -> None:
    """A database with all tables, of which each run gets a copy; and the static files of all runs."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE migrated")
    environ = {**production.without_settings(dict(os.environ)), **production.settings(directory)}
    environ["DATABASE_URL"] = postgres.url("migrated")
    for command in (["migrate", "--verbosity=0"], ["collectstatic", "--noinput", "--verbosity=0"]):
        subprocess.run([sys.executable, "manage.py", *command], cwd=production.ROOT, env=environ, check=True)


def known() -> set[tuple[str, str]]:
    """(module, id) of the survivors that the document gives a reason for: rows below a heading with the module."""
    result, module = set(), ""
    path = production.ROOT / KNOWN
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        if heading := re.match(r"## `(.+)`", line):
            module = heading[1]
        elif row := re.match(r"\| `([0-9a-f]{8})`", line):
            result.add((module, row[1]))
    return result


@dataclass
class Count:
    """What became of the mutants of one module."""

    how: Counter[str] = field(default_factory=Counter)
    survivors: list[Mutant] = field(default_factory=list)


def hunt(modules: list[str], most: int, jobs: int, only: set[str]) -> dict[str, Count]:
    counts: dict[str, Count] = {}
    with (
        tempfile.TemporaryDirectory(prefix="portal-mutants-") as name,
        Postgres() as postgres,
        Valkey() as valkey,
    ):
        directory = Path(name)
        directory.chmod(0o755)
        migrate(directory, postgres)
        benches = [Bench(number, directory, postgres, valkey) for number in range(jobs)]
        for module in modules:
            mutants = [one for one in chosen(module, 0 if only else most) if not only or one.id in only]
            if mutants:
                counts[module] = _hunt_module(module, mutants, benches)
    return counts


def _hunt_module(module: str, mutants: list[Mutant], benches: list[Bench]) -> Count:
    source, tests = (production.ROOT / module).read_bytes(), tests_of(module)
    how, took, output = benches[0].run(tests, 3600)
    if how != "survived":
        sys.exit(f"The tests of {module} fail without a mutant:\n{output}")
    seconds = SPARE + SLOWER * took
    print(f"{module}: {len(mutants)} mutants, {took:.0f} s of tests", flush=True)
    count, lock, free = Count(), threading.Lock(), list(benches)

    def work(mutant: Mutant) -> None:
        if stopped.is_set():
            return
        with lock:
            bench = free.pop()
        try:
            bench.write(module, mutated(source, mutant))
            how, took, output = bench.run(tests, seconds)
        finally:
            bench.write(module, source)
        with lock:
            free.append(bench)
            if how == "no tests":
                raise RuntimeError(output)
            count.how[how] += 1
            if how == "survived":
                count.survivors.append(mutant)
            print(f"  {how:8} {took:4.0f} s  {mutant}", flush=True)

    with ThreadPoolExecutor(len(benches)) as pool:
        list(pool.map(work, mutants))
    count.survivors.sort(key=lambda mutant: mutant.start)
    return count


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.mutants", description=__doc__.partition("\n")[0]
    )
    parser.add_argument(
        "--module", action="append", choices=list(MODULES), help="this module only; several times"
    )
    parser.add_argument(
        "--most", type=int, default=MOST, metavar="N", help=f"mutants a module; 0: all. Default: {MOST}"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="at a time; default: 1")
    parser.add_argument(
        "--only", action="append", default=[], metavar="ID", help="this mutant; several times"
    )
    parser.add_argument("--list", action="store_true", help="print the mutants and test none")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    modules: list[str] = options.module or list(MODULES)
    if options.list:
        for module in modules:
            print(*chosen(module, options.most), sep="\n")
        return 0
    counts = hunt(modules, options.most, options.jobs, set(options.only))
    reasons, unknown = known(), 0
    print()
    for module, count in counts.items():
        tried = sum(count.how.values())
        late = count.how["timeout"]
        print(
            f"{module}: {tried} mutants, {tried - count.how['survived']} noticed ({late} by the time limit)"
        )
        for mutant in count.survivors:
            is_known = (module, mutant.id) in reasons
            unknown += not is_known
            print(f"  {'known   ' if is_known else 'SURVIVOR'}  {mutant}")
    print(f"{unknown} survivors without a reason in {KNOWN}.")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
