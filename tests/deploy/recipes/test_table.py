"""The table in docs/gateway.md is the matrix that the tests run."""

from tests.deploy.recipes import table
from tests.deploy.recipes.cases import CASES
from tests.support.recipes import RECIPES


def test_the_document_has_the_table_of_the_matrix() -> None:
    text = table.DOCUMENT.read_text(encoding="utf-8")
    assert text == table.with_table(text), (
        "python -m tests.support.production python -m tests.deploy.recipes.table --write"
    )


def test_each_case_has_a_title_of_its_own_and_each_exception_names_a_case() -> None:
    assert len({case.title for case in CASES.values()}) == len(CASES) > 30
    for recipe in RECIPES.values():
        assert set(recipe.refuses) <= set(CASES), recipe.name
        assert all(recipe.refuses.values()), recipe.name
