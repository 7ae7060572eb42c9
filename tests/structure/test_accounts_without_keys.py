"""accounts knows no keys: what it says, stores or allows about them is registered by apikeys, or is listed here."""

import ast
import re
from collections import defaultdict

import pytest

from tests.structure.sources import sources

#: Values of events and of approval purposes that apikeys registers.
TAG = re.compile(r"(?<![\w.])(key|gateway)\.[a-z_]+")
#: Words of apikeys in texts, lookups, permissions and identifiers.
WORDS = re.compile(
    r"api_?key|API keys?\b|(?<!PORTAL_MASTER_)\b[Kk]eys\b|(freeze|revoke)_keys|rescue|credential|withdraw|trade|gateway"
    r"|secret key|make a key|id of a key|^(VIEW|MASKED)_KEY$|^key_(event|condition|id__)",
    re.IGNORECASE,
)
FREEZE = "freezing and thawing an account stop and start its keys: the state is the account's, the text says its effect"
QUARANTINE = "the quarantine is a column of the account; the text says its effect"
RIGHTS = "permissions of the customer's model, stored by migration 0005"
STAFF = "the staff's pages of a customer find and show the customer's keys"
HELP = "the help of a command of the whole portal says what apps register with it"
#: Module → why it mentions keys.
REMAINS = {
    "accounts.access.passwords": "keys of a keyboard",
    "accounts.choices.approvals": FREEZE,
    "accounts.choices.events": QUARANTINE,
    "accounts.choices.roles": RIGHTS,
    "accounts.management.commands.erase_customer": HELP,
    "accounts.management.commands.freeze_account": FREEZE,
    "accounts.management.commands.portal_doctor": HELP,
    "accounts.management.commands.run_demo": "the demo starts a gateway process beside the portal",
    "accounts.management.commands.send_notices": HELP,
    "accounts.management.commands.thaw_account": FREEZE,
    "accounts.management.commands.tick": HELP,
    "accounts.notifications.texts": FREEZE,
    "accounts.oidc.linking": "the text about a provider that is down says that keys go on",
    "accounts.operations.doctor": "migrations of both apps are compared; without SMS nobody can make a key",
    "accounts.profile.freeze": FREEZE,
    "accounts.profile.phone": QUARANTINE,
    "accounts.profile.totp": QUARANTINE,
    "accounts.registration.password_reset_views": QUARANTINE,
    "accounts.sms.kavenegar": "a setting of the provider",
    "accounts.sms.smsir": "a setting of the provider",
    "accounts.staff.actions": FREEZE,
    "accounts.staff.forms": STAFF,
    "accounts.staff.presenters": STAFF,
    "accounts.staff.search": STAFF,
}


def names_and_texts(tree: ast.Module) -> set[str]:
    """Every identifier and every string of a module but its docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    result = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            result.add(node.value)
        result |= {
            value
            for name in ("id", "attr", "name", "arg")
            if isinstance(value := getattr(node, name, None), str)
        }
    return result


@pytest.fixture(scope="module")
def mentioned() -> dict[str, set[str]]:
    """Module of accounts → its identifiers and texts."""
    return {name: names_and_texts(tree) for name, tree in sources() if name.startswith("accounts.")}


def test_no_event_and_no_purpose_of_keys_is_named_in_accounts(mentioned: dict[str, set[str]]) -> None:
    result = {name: hits for name, texts in mentioned.items() if (hits := set(filter(TAG.search, texts)))}
    assert result == {}


def test_words_of_keys_are_in_accounts_only_where_it_is_said_why(mentioned: dict[str, set[str]]) -> None:
    result = defaultdict(set)
    for name, texts in mentioned.items():
        result[name] = set(filter(WORDS.search, texts))
    assert {name: hits for name, hits in result.items() if hits and name not in REMAINS} == {}
    assert {name for name in REMAINS if not result[name]} == set(), (
        "they no longer mention keys: remove them here"
    )


@pytest.mark.parametrize(
    "source",
    ['EVENT = "key.created"', 'PURPOSES = {"for": "gateway.token_made"}', 'text = f"{x} key.thaw"'],
)
def test_a_tag_would_be_found(source: str) -> None:
    assert any(map(TAG.search, names_and_texts(ast.parse(source))))


@pytest.mark.parametrize(
    "source", ["class ApiKey: ...", "VIEW_KEY = 1", 'f(api_keys__label="x")', 'text = _("All API keys stop")']
)
def test_a_word_would_be_found(source: str) -> None:
    assert any(map(WORDS.search, names_and_texts(ast.parse(source))))
