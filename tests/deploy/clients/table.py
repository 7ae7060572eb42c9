"""Writes the table of docs/clients.md.

    python -m tests.deploy.clients.table --write

A cell says what the test of this client asserts behind every proxy that takes bodies.
"""

import sys

from tests.deploy.clients.expected import CALLS, CLIENTS, KEYS, Client
from tests.support import production
from tests.support.generated_sections import with_section

DOCUMENT = production.ROOT / "docs/clients.md"
BEGIN, END = "<!-- clients: made by tests/deploy/clients/table.py -->", "<!-- end of clients -->"


def table() -> str:
    """Return the table in Markdown, and a list of what does not work, with the reasons."""
    lines = [
        "| client | version | " + " | ".join(CALLS.values()) + " |",
        "|---" * (len(CALLS) + 2) + "|",
    ]
    faults = []
    for client in CLIENTS.values():
        cells = " | ".join(_cell(client, call) for call in CALLS)
        lines.append(f"| {client.name} ({client.registry}) | {client.version} | {cells} |")
        faults += [
            f"- {client.name} ({client.registry}), {kind or 'each kind of key'}, {CALLS[call]}: {reason}."
            for (kind, call), reason in client.failures.items()
        ]
    return "\n".join([*lines, "", "What does not work, and why:", "", *faults])


def _cell(client: Client, call: str) -> str:
    if call in client.missing:
        return "-"
    failing = [kind for kind in KEYS if client.failure(kind, call)]
    works = "no" if len(failing) == len(KEYS) else f"not {', '.join(failing)}" if failing else "yes"
    return works if call not in client.forms or works == "no" else f"{works} (body)"


def with_table(text: str) -> str:
    """Return the document with the current table."""
    return with_section(text, BEGIN, END, table())


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        DOCUMENT.write_text(with_table(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(table())
