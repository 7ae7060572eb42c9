"""Extract messages from the sources, update the message catalogues, and check them. Needs Babel, not GNU gettext.

``python -m hitobit_portal.i18n.catalogue`` updates ``locale/*/LC_MESSAGES/django.po`` from the sources. ``--check``
changes nothing and exits with 1 if a catalogue is not complete. The site itself never imports this module.
"""

import argparse
import io
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir, extract_python
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parents[2]
SOURCE_LANGUAGE = "en"
LANGUAGES = ("en", "fa")
KEYWORDS = {
    **DEFAULT_KEYWORDS,
    **{f"{name}_lazy": DEFAULT_KEYWORDS[name] for name in ("gettext", "ngettext", "pgettext", "npgettext")},
    "gettext_noop": None,
}
PLACEHOLDER = re.compile(r"%\((\w+)\)[a-z]|%([sd])|\{(\w*)(?:![rsa])?(?::[^{}]*)?\}")
# Arabic letters that look like Persian ones but are different characters in a search, and a spelling to avoid.
NOT_PERSIAN = {"ي": "Arabic yeh", "ك": "Arabic kaf", "تأیید": "the spelling of «تایید»"}

Extracted = tuple[int, Any, Any, list[str]]


def extract_template(
    file: IO[bytes], keywords: Mapping[str, Any], comment_tags: Collection[str], options: Mapping[str, Any]
) -> Iterator[Extracted]:
    """Yield the messages of a Django template as Babel's extractors do: line, function, messages, comments."""
    source = templatize(file.read().decode("utf-8"))
    # The rest of the page looks like names and operators to Python's tokenizer; its indentation would be an error.
    flat = "\n".join(line.lstrip() for line in source.split("\n"))
    file_of_python = io.BytesIO(flat.encode("utf-8"))
    extracted: Any = extract_python(file_of_python, keywords, comment_tags, {"encoding": "utf-8"})
    yield from extracted


def extract(root: Path = ROOT) -> Catalog:
    """Return all messages of the sources below ``root``, which ``babel.cfg`` lists."""
    with (root / "babel.cfg").open(encoding="utf-8") as file:
        methods, options = parse_mapping_cfg(file)  # type: ignore[no-untyped-call]
    catalogue = Catalog(header_comment="", charset="utf-8", fuzzy=False)
    for name, line, message, comments, context in extract_from_dir(
        root, methods, options, KEYWORDS, ("Translators:",), strip_comment_tags=True, directory_filter=enter
    ):
        catalogue.add(message, None, [(name, line)], auto_comments=comments, context=context)
    return catalogue


def enter(directory: str) -> bool:
    name = Path(directory).name
    return not name.startswith((".", "_")) and name not in ("var", "tests", "locale", "static", "migrations")


def path_of(language: str, root: Path = ROOT) -> Path:
    return root / "locale" / language / "LC_MESSAGES" / "django.po"


def load(language: str, root: Path = ROOT) -> Catalog:
    """Return the catalogue of ``language``, empty if there is no file yet."""
    path = path_of(language, root)
    if not path.exists():
        return Catalog(locale=language, header_comment="", charset="utf-8", fuzzy=False)
    with path.open("rb") as file:
        return read_po(file, locale=language, domain="django")


def update(language: str, root: Path = ROOT) -> Catalog:
    """Add new messages to the catalogue on disk and remove old ones. Translations are never guessed."""
    catalogue = load(language, root)
    catalogue.update(extract(root), no_fuzzy_matching=True, update_creation_date=False)
    catalogue.fuzzy = False
    catalogue.obsolete.clear()
    if language == SOURCE_LANGUAGE:
        for message in messages(catalogue):
            message.string = message.id
    path = path_of(language, root)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        # Without line numbers: otherwise a change above a message would change the catalogue.
        write_po(file, catalogue, width=110, sort_by_file=True, ignore_obsolete=True, include_lineno=False)
    return catalogue


def messages(catalogue: Catalog) -> list[Message]:
    return [message for message in catalogue if message.id]


def label(message: Message) -> str:
    singular = message.id if isinstance(message.id, str) else message.id[0]
    return f"{message.context + ': ' if message.context else ''}{singular!r}"


def forms(text: str | Sequence[str | None] | None) -> list[str]:
    """Return the plural forms of a message or a translation: one if it has no plural, ``""`` for a missing one."""
    return [form or "" for form in ((text,) if text is None or isinstance(text, str) else text)]


def placeholders(text: str) -> set[str]:
    """Return the placeholders ``%(name)s``, ``{name}`` and ``%s``; ``%%`` is a percent sign."""
    return {match.group(0) for match in PLACEHOLDER.finditer(text.replace("%%", ""))}


def problems(catalogue: Catalog, extracted: Catalog) -> list[str]:
    """Return why ``catalogue`` is not a complete translation of ``extracted``, one sentence for each reason."""
    wanted = {(message.id, message.context): message for message in messages(extracted)}
    present = {(message.id, message.context): message for message in messages(catalogue)}
    sentences = [f"{label(message)} is missing" for key, message in wanted.items() if key not in present]
    sentences += [
        f"{label(message)} is not in the sources" for key, message in present.items() if key not in wanted
    ]
    sentences += [f"{label(message)} is kept as obsolete" for message in catalogue.obsolete.values()]
    for message in present.values():
        sentences += [f"{label(message)} {fault}" for fault in faults(message)]
        if catalogue.locale_identifier == "fa":
            text = "".join(forms(message.string))
            sentences += [
                f"{label(message)} has {what}" for letter, what in NOT_PERSIAN.items() if letter in text
            ]
    return sentences


def faults(message: Message) -> list[str]:
    """Return what is wrong with one message in any language. A plural form may spell the number instead."""
    reasons = ["is marked fuzzy"] if message.fuzzy else []
    translated, originals = forms(message.string), forms(message.id)
    if not all(text.strip() for text in translated):
        return [*reasons, "is not translated"]
    required = set.intersection(*map(placeholders, originals))
    allowed = set.union(*map(placeholders, originals))
    for text in translated:
        if not required <= placeholders(text) <= allowed:
            reasons.append(f"has other placeholders in {text!r}")
        if text.startswith("\n") != originals[0].startswith("\n") or text.endswith("\n") != originals[
            0
        ].endswith("\n"):
            reasons.append("begins or ends with a line break in one language only")
    return reasons


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Updates the message catalogues.")
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit with 1 if one is not complete"
    )
    check = parser.parse_args(arguments).check
    extracted = extract()
    count = 0
    for language in LANGUAGES:
        catalogue = load(language) if check else update(language)
        sentences = problems(catalogue, extracted)
        count += len(sentences)
        sys.stdout.writelines(f"{language}: {line}\n" for line in sentences)
        sys.stdout.write(f"{language}: {len(messages(catalogue))} messages, {len(sentences)} to do\n")
    return 1 if check and count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
