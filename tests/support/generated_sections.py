"""Sections of documents that are made by a program, between two comments."""


def with_section(text: str, begin: str, end: str, section: str) -> str:
    """Return ``text`` with ``section`` between the lines ``begin`` and ``end``."""
    before, found, rest = text.partition(begin)
    _old, found_end, after = rest.partition(end)
    assert found, f"the document has no line {begin}"
    assert found_end, f"the document has no line {end}"
    return f"{before}{begin}\n\n{section.strip()}\n\n{end}{after}"
