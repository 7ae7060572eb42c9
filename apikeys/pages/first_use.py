"""The first signed request of a new key: how to make it, and whether it has come."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypedDict

from django.utils.translation import gettext as _

from accounts.audit.detail_texts import isolated
from apikeys.models import ApiKey, Credential
from apikeys.usage import rejection_texts
from apikeys.verification.signing import Kind

#: Plain text, not templates: braces and dollars belong to the languages in them.
FOLDER = Path(__file__).parent / "snippets"
LANGUAGES = {"curl": "curl + openssl", "python": "Python", "node": "JavaScript (Node.js)", "csharp": "C#"}


class FirstUse(TypedDict):
    used: bool
    text: str


@dataclass(frozen=True)
class Snippet:
    """``language`` is a word for ids, ``title`` what people read, ``text`` the program."""

    language: str
    title: str
    text: str


@cache
def _files() -> dict[str, str]:
    return {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.txt")}


def snippets(key: ApiKey, kind: Kind, origin: str) -> list[Snippet]:
    """Ready programs of this kind with the key's id in them; the secret stays in the environment."""
    found = []
    for language, title in LANGUAGES.items():
        text = _files().get(f"{kind.value}-{language}")
        if text is not None:
            filled = text.replace("@ORIGIN@", origin).replace("@KEY@", key.key_id).rstrip("\n")
            found.append(Snippet(language, title, filled))
    return found


def state(key: ApiKey, credential: Credential | None = None) -> FirstUse:
    """What the waiting line says: the first request passed, or the last one was refused and why, or none came.

    ``credential``: of a key that is in use already, the new credential whose first request is waited for.
    """
    if credential is not None and credential.first_used_at is not None:
        return {"used": True, "text": _("It works: a request signed with the new credential came.")}
    if credential is None and key.last_used_at is not None:
        address = isolated(key.last_used_ip or "")
        return {"used": True, "text": _("It works: a signed request came from %(ip)s.") % {"ip": address}}
    refused = key.refusals.filter(at__gt=credential.created_at) if credential else key.refusals.all()
    refusal = refused.first()
    if refusal is not None:
        why = rejection_texts.text_of(refusal).title
        return {"used": False, "text": _("A request came and was refused: %(why)s") % {"why": why}}
    return {"used": False, "text": _("Waiting for the first signed request…")}
