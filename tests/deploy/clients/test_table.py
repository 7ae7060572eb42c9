"""The table in docs/clients.md is what the tests expect of the clients."""

from tests.deploy.clients import table
from tests.deploy.clients.expected import CALLS, CLIENTS, KEYS


def test_the_document_has_the_table_of_the_clients() -> None:
    text = table.DOCUMENT.read_text(encoding="utf-8")
    assert text == table.with_table(text), "python -m tests.deploy.clients.table --write"


def test_each_exception_names_a_call_and_a_kind_of_key() -> None:
    for name, client in CLIENTS.items():
        assert {call for _key, call in client.failures} | set(client.forms) | set(client.missing) <= set(
            CALLS
        ), name
        assert {key for key, _call in client.failures} <= {"", *KEYS}, name
