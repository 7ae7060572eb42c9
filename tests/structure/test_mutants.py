"""`tests.support.mutants` itself: its changes, that they stay the same, and that its table names what exists."""

import ast

import pytest

from tests.support import mutants, production
from tests.support.mutants import Finder, Mutant

SOURCE = '''\
"""Words 1 and 2."""
import logging
logger = logging.getLogger("x")
LIMIT: "int" = 5

def may(user: "User | None", now: int = 0) -> bool:
    """Whether a < b."""
    logger.warning("no", extra={"n": 1})
    if user is None or user.frozen:
        raise ValueError("3")
    rows = user.rows.filter(number=user.phone, kind="a").exclude(old=True)
    return not rows and max(now, LIMIT) >= len("ف".lower()) + 1
'''


def result(source: str = SOURCE, module: str = "a/b.py") -> list[Mutant]:
    return Finder(module, source.encode()).all()


def changes(source: str = SOURCE) -> set[tuple[str, str]]:
    return {(one.old, one.new) for one in result(source)}


def test_conditions_figures_arguments_and_effects_are_changed() -> None:
    assert {
        ("5", "6"),
        ("0", "1"),
        ("user is None", "(user is not None)"),
        ("user is None or user.frozen", "(user is None and user.frozen)"),
        ("user is None or user.frozen", "(user is None)"),
        ("user is None or user.frozen", "(user.frozen)"),
        ('raise ValueError("3")', "pass"),
        ('user.rows.filter(number=user.phone, kind="a")', "(user.rows.filter(kind='a'))"),
        ('user.rows.filter(number=user.phone, kind="a")', "(user.rows.exclude(number=user.phone, kind='a'))"),
        ("not rows", "(rows)"),
        ("max(now, LIMIT)", "(min(now, LIMIT))"),
        ('"ف".lower()', "('ف')"),
        ('max(now, LIMIT) >= len("ف".lower()) + 1', "(max(now, LIMIT) > len('ف'.lower()) + 1)"),
    } <= changes()


def test_words_types_and_logs_are_not() -> None:
    text = str(changes())
    for unchanged in ("Words", "Whether", "logger", "User |", "'n'", '"3" '):
        assert unchanged not in text, unchanged
    assert (
        changes(
            '"""Only words."""\nimport os\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    x = 1\n'
        )
        == set()
    )


def test_each_mutant_is_another_program() -> None:
    seen = {ast.dump(ast.parse(SOURCE))}
    for one in result():
        dump = ast.dump(ast.parse(mutants.mutated(SOURCE.encode(), one)))
        assert dump not in seen, one
        seen.add(dump)


def test_an_id_outlives_a_move_and_lines_that_are_put_before() -> None:
    moved = result("import os\n\n" + SOURCE, "elsewhere/c.py")
    assert [one.id for one in moved] == [one.id for one in result()]
    assert [one.line for one in moved] == [one.line + 2 for one in result()]
    ids = [one.id for one in result()]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("module", mutants.MODULES)
def test_the_table_names_modules_and_tests_that_exist(module: str) -> None:
    assert (production.ROOT / module).is_file()
    assert mutants.tests_of(module)
    few = mutants.chosen(module, 5)
    assert len(few) == 5
    assert set(few) <= set(mutants.chosen(module, 20)) <= set(mutants.chosen(module, 0))
