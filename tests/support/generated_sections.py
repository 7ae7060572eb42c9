"""Sections of documents that are made by a program, between two comments."""


def with_section(text: str, begin: str, end: str, section: str) -> str:
    """Return ``text`` with ``section`` between the lines ``begin`` and ``end``."""
    before, first, rest = text.partition(begin)
    _old, last, after = rest.partition(end)
    assert first, f"the document has no line {begin}"
    assert last, f"the document has no line {end}"
    return f"{before}{begin}\n\n{section.strip()}\n\n{end}{after}"
