"""The first signed request of a new key: example programs, and whether a request was received."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypedDict

from django.utils.translation import gettext as _

from apikeys.models import ApiKey, Credential
from apikeys.usage import rejection_texts
from apikeys.verification.signing import Kind
from hitobit_portal.i18n.bidi import fill

#: Plain text instead of templates: the programs contain braces and dollar signs.
FOLDER = Path(__file__).parent / "snippets"
LANGUAGES = {"curl": "curl + openssl", "python": "Python", "node": "JavaScript (Node.js)", "csharp": "C#"}


class FirstUse(TypedDict):
    used: bool
    text: str


@dataclass(frozen=True)
class Snippet:
    """``language``: for ids; ``title``: for people; ``text``: the program."""

    language: str
    title: str
    text: str


@cache
def _files() -> dict[str, str]:
    return {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.txt")}


def snippets(key: ApiKey, kind: Kind, origin: str) -> list[Snippet]:
    """Return complete programs for this kind of credential with the key's id; they read the secret from the
    environment."""
    result = []
    for language, title in LANGUAGES.items():
        text = _files().get(f"{kind.value}-{language}")
        if text is not None:
            filled = text.replace("@ORIGIN@", origin).replace("@KEY@", key.key_id).rstrip("\n")
            result.append(Snippet(language, title, filled))
    return result


def state(key: ApiKey, credential: Credential | None = None) -> FirstUse:
    """Return the state of the first request: allowed, or the last one was rejected and why, or none was received.

    ``credential``: the new credential of a key that is in use already.
    """
    if credential is not None and credential.first_used_at is not None:
        return {"used": True, "text": _("It works: a request signed with the new credential arrived.")}
    if credential is None and key.last_used_at is not None:
        return {
            "used": True,
            "text": fill(_("It works: a signed request arrived from %(ip)s."), ip=key.last_used_ip or ""),
        }
    rejections = key.refusals.filter(at__gt=credential.created_at) if credential else key.refusals.all()
    rejection = rejections.first()
    if rejection is not None:
        why = rejection_texts.text_of(rejection).title
        return {"used": False, "text": fill(_("A request arrived and was refused: %(why)s"), why=why)}
    return {"used": False, "text": _("Waiting for the first signed request…")}
