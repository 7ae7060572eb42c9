"""Strategies for signed requests that are allowed or have exactly one defect, with the expected outcome. Pure.

A property test that draws every field at random produces hardly any allowed request, and none in which one condition
alone decides. Here a request is allowed by construction; then at most one thing is changed.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import urllib.parse
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import strategies as st

from apikeys.verification.networks import compile_networks
from apikeys.verification.outcomes import Outcome
from apikeys.verification.records import CredentialRecord, KeyRecord
from apikeys.verification.signing import Kind
from tests.support.key_pairs import rsa_of

NOW = 1_800_000_000_000
WEEK = 7 * 86_400_000
FAR = 400 * 86_400_000
KEY = "k" * 64
LISTED, UNLISTED = "203.0.113.9", "198.51.100.1"
#: Lists of networks, each with an address that it contains.
LISTS = (
    (("203.0.113.0/24",), LISTED),
    (("192.0.2.1", LISTED, "2001:db8::/32"), LISTED),
    (("203.0.113.0/24",), "::ffff:203.0.113.9"),
    (("203.0.113.0/24", "2001:db8::/32"), "2001:db8::1"),
)
LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


class SigningKey:
    """The secret or the private key of one credential."""

    def __init__(self, kind: Kind, private: Any) -> None:
        self.kind = kind
        self._private = private
        self._signed: dict[bytes, bytes] = {}

    @functools.cached_property
    def material(self) -> bytes:
        if self.kind is Kind.HMAC:
            return bytes(self._private)
        public = self._private.public_key()
        return bytes(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    def sign(self, payload: bytes) -> bytes:
        """Return the signature as the contract encodes it: hex or base64."""
        if payload not in self._signed:  # RSA takes milliseconds
            self._signed[payload] = self._sign(payload)
        return self._signed[payload]

    def _sign(self, payload: bytes) -> bytes:
        if isinstance(self._private, ed25519.Ed25519PrivateKey):
            return b64encode(self._private.sign(payload))
        if isinstance(self._private, rsa.RSAPrivateKey):
            return b64encode(self._private.sign(payload, padding.PKCS1v15(), SHA256()))
        return hmac.new(self._private, payload, hashlib.sha256).hexdigest().encode()


@functools.cache
def signing_key(kind: Kind, number: int = 0) -> SigningKey:
    """Return the ``number``-th key of its kind."""
    if kind is Kind.HMAC:
        return SigningKey(kind, bytes([ord("s") + number]) * 64)
    if kind is Kind.ED25519:
        return SigningKey(kind, ed25519.Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))
    return rsa_signing_key(3072) if number == 0 else SigningKey(kind, rsa.generate_private_key(65_537, 3072))


@functools.cache
def rsa_signing_key(bits: int) -> SigningKey:
    """Return an RSA key of any size."""
    return SigningKey(Kind.RSA, rsa_of(bits))


NO_SECRET = SigningKey(Kind.HMAC, b"")


@dataclass
class CredentialDraft:
    """One credential of the API key, with its signing key."""

    signing_key: SigningKey
    number: int
    retires: int | None = None
    is_new: bool = False
    kind: Kind | None = None

    def record(self) -> CredentialRecord:
        return CredentialRecord(
            self.number,
            self.kind or self.signing_key.kind,
            self.signing_key.material,
            self.retires,
            self.is_new,
        )


Encode = Callable[[bytes], str]


def percent(text: bytes) -> str:
    return urllib.parse.quote(text, safe="")


@dataclass
class RequestDraft:
    """A request to a key, before it is signed.

    ``pieces``: of the query string, in order and as sent; ``altered``: pieces that replace them after signing.
    ``fast``: whether the gateway's fast path has to allow the request by itself.
    """

    permission: str
    address: str = LISTED
    networks: tuple[str, ...] = ()
    restricted: bool = False
    permissions: frozenset[str] = frozenset()
    active: bool = True
    owner_active: bool = True
    owner_frozen: bool = False
    expires: int | None = None
    trades_until: int | None = None
    reads_until: int | None = None
    credential: CredentialDraft = field(default_factory=lambda: CredentialDraft(signing_key(Kind.HMAC), 1))
    other: CredentialDraft | None = None
    other_first: bool = True
    pieces: list[str] = field(default_factory=list)
    altered: list[str] | None = None
    stamp: str = str(NOW)
    window: str | None = None
    spelled: Encode = percent
    by: SigningKey | None = None
    signs: bool = True
    signature_first: bool = False
    fast: bool = True
    outcome: Outcome = Outcome.ALLOWED
    defect: str = ""

    def record(self) -> KeyRecord:
        signing = [self.credential] if self.other is None else [self.other, self.credential]
        return KeyRecord(
            user="7",
            key=KEY,
            active=self.active,
            owner_active=self.owner_active,
            owner_frozen=self.owner_frozen,
            expires_at_ms=self.expires,
            trade_until_ms=self.trades_until,
            reads_until_ms=self.reads_until,
            permissions=self.permissions,
            restricted=self.restricted,
            networks=compile_networks(self.networks),
            credentials=tuple(one.record() for one in (signing if self.other_first else signing[::-1])),
        )

    def query(self) -> str:
        sent = [self._filled(piece) for piece in self.pieces]
        if not self.signs:
            return "&".join(sent)
        signature = (self.by or self.credential.signing_key).sign("&".join(sent).encode())
        arrives = sent if self.altered is None else [self._filled(piece) for piece in self.altered]
        last = f"signature={self.spelled(signature)}"
        return "&".join([last, *arrives] if self.signature_first else [*arrives, last])

    def _filled(self, piece: str) -> str:
        return {TIME: f"timestamp={self.stamp}", WINDOW: f"recvWindow={self.window}"}.get(piece, piece)

    @property
    def arguments(self) -> tuple[KeyRecord, str, str, str]:
        """Record, query string, address, permission."""
        return self.record(), self.query(), self.address, self.permission


#: Placeholders in the pieces for values that have a field of their own.
TIME, WINDOW = "<time>", "<window>"
POWERS = ("read", "trade", "withdraw")
_values = st.text(alphabet="aB0-._~!$'()*,;:@/?", max_size=6)
_encoded = st.sampled_from(["", "", "", "%2C", "%d9%85", "+", "%20", "%00", "%26", "%3D"])
_names = st.lists(st.sampled_from(["symbol", "side", "a", "a-b.c", "x1", "price"]), unique=True, max_size=4)


@st.composite
def allowed(
    draw: Callable[[st.SearchStrategy[Any]], Any], permissions: Sequence[str] = POWERS
) -> RequestDraft:
    """Draw allowed requests for one of ``permissions``."""

    def one_of(*values: Any) -> Any:
        return draw(st.sampled_from(values))

    made = RequestDraft(one_of(*permissions))
    reads, trades = made.permission == "read", made.permission == "trade"
    made.restricted = made.permission == "withdraw" or one_of(True, False)
    if made.restricted:
        made.networks, made.address = one_of(*LISTS)
    else:
        made.networks, made.address = one_of((), ("192.0.2.0/24",)), one_of(LISTED, UNLISTED, "2001:db9::1")
    made.permissions = frozenset({made.permission}) | draw(st.frozensets(st.sampled_from(POWERS)))
    # Not ended, or irrelevant for the permission.
    ended = (NOW, NOW - 1, NOW - WEEK + 1) if reads else ()
    made.expires = one_of(None, None, NOW + 1, NOW + FAR, *ended)
    made.trades_until = one_of(None, None, NOW + 1, NOW + FAR, *(() if trades else (NOW, NOW - FAR)))
    made.reads_until = one_of(None, None, NOW, NOW - FAR, *((NOW + 1, NOW + FAR) if reads else ()))
    _with_credentials(made, one_of)
    pairs = [f"{name}={draw(_values)}{draw(_encoded)}" for name in draw(_names)]
    made.window = one_of(None, None, "5000", "60000", "1", "05000")
    pairs.insert(one_of(0, len(pairs)), TIME)
    if made.window is not None:
        pairs.insert(one_of(0, len(pairs)), WINDOW)
    made.pieces = pairs
    oldest = int(made.window or "5000")
    made.stamp = str(NOW + one_of(0, -1, -oldest, 999))
    if made.credential.signing_key.kind is Kind.HMAC:
        made.spelled = one_of(bytes.decode, bytes.decode, lambda text: text.decode().upper())
    else:
        made.spelled = one_of(percent, percent, _in_lower_percents, _with_plain_plus, _with_encoded_space)
    if one_of(*[True] * 11, False):
        return made
    unusual: Callable[[RequestDraft], RequestDraft] = one_of(*_UNUSUAL)
    return unusual(made)


def _with_credentials(made: RequestDraft, one_of: Callable[..., Any]) -> None:
    kind = one_of(*Kind)
    made.credential = CredentialDraft(signing_key(kind), one_of(1, 3), one_of(None, None, NOW + 1, NOW + FAR))
    if one_of(True, False, False):
        other = CredentialDraft(
            signing_key(one_of(*Kind), 1), 2, one_of(None, NOW + FAR, NOW, NOW - FAR), one_of(True, False)
        )
        made.other, made.other_first = other, one_of(True, False)


def _in_lower_percents(text: bytes) -> str:
    return text.decode().replace("+", "%2b").replace("/", "%2f").replace("=", "%3d")


def _with_plain_plus(text: bytes) -> str:
    """As node-binance-api sends it: a form decoder reads the "+" as a space."""
    return percent(text).replace("%2B", "+")


def _with_encoded_space(text: bytes) -> str:
    return percent(text).replace("%2B", "%20")


def _new(made: RequestDraft) -> RequestDraft:
    return replace(made, credential=replace(made.credential, is_new=True), fast=False)


def _in_microseconds(made: RequestDraft) -> RequestDraft:
    return replace(made, stamp=made.stamp + "000", fast=False)


def _with_part_of_a_window(made: RequestDraft) -> RequestDraft:
    pieces = made.pieces if made.window is not None else [*made.pieces, WINDOW]
    return replace(made, window="5000.5", stamp=str(NOW - 5000), pieces=pieces, fast=False)


def _with_a_bare_name(made: RequestDraft) -> RequestDraft:
    return replace(made, pieces=[*made.pieces, "bare"], fast=False)


def _with_an_encoded_name(made: RequestDraft) -> RequestDraft:
    return replace(made, pieces=["%62=1", *made.pieces], fast=False)


def _signed_at_the_front(made: RequestDraft) -> RequestDraft:
    return replace(made, signature_first=True, fast=False)


#: Allowed forms of a request that only the decision handles.
_UNUSUAL = (
    _new, _in_microseconds, _with_part_of_a_window, _with_a_bare_name, _with_an_encoded_name, _signed_at_the_front,
)  # fmt: skip

Choose = Callable[..., Any]


@dataclass(frozen=True)
class Defect:
    """A defect: the expected outcome, the permissions that it concerns, and a function that applies it."""

    outcome: Outcome
    permissions: tuple[str, ...]
    spoil: Callable[[RequestDraft, Choose], RequestDraft]


DEFECTS: dict[str, Defect] = {}


def _defect(outcome: Outcome, *permissions: str) -> Callable[[Any], Any]:
    def keep(spoil: Callable[[RequestDraft, Choose], RequestDraft]) -> Any:
        DEFECTS[spoil.__name__] = Defect(outcome, permissions or POWERS, spoil)
        return spoil

    return keep


@_defect(Outcome.KEY_INACTIVE)
def paused(made: RequestDraft, one_of: Choose) -> RequestDraft:
    return replace(made, active=False)


@_defect(Outcome.OWNER_INACTIVE)
def owner_inactive(made: RequestDraft, one_of: Choose) -> RequestDraft:
    return replace(made, owner_active=False)


@_defect(Outcome.OWNER_FROZEN)
def owner_frozen(made: RequestDraft, one_of: Choose) -> RequestDraft:
    return replace(made, owner_frozen=True)


@_defect(Outcome.KEY_DEGRADED, "trade", "withdraw")
def expired(made: RequestDraft, one_of: Choose) -> RequestDraft:
    return replace(made, expires=one_of(NOW, NOW - 1, NOW - WEEK + 1))


@_defect(Outcome.KEY_EXPIRED)
def grace_is_over(made: RequestDraft, one_of: Choose) -> RequestDraft:
    return replace(made, expires=one_of(NOW - WEEK, NOW - WEEK - 1, NOW - FAR))


@_defect(Outcome.TRADE_LAPSED, "trade")
def trading_has_ended(made: RequestDraft, one_of: Choose) -> RequestDraft:
    return replace(made, trades_until=one_of(NOW, NOW - 1, NOW - FAR))


@_defect(Outcome.QUARANTINE, "trade", "withdraw")
def in_quarantine(made: RequestDraft, one_of: Choose) -> RequestDraft:
    return replace(made, reads_until=one_of(NOW + 1, NOW + FAR))


@_defect(Outcome.PERMISSION)
def without_the_permission(made: RequestDraft, one_of: Choose) -> RequestDraft:
    return replace(made, permissions=made.permissions - {made.permission})


@_defect(Outcome.PERMISSION)
def permission_that_does_not_exist(made: RequestDraft, one_of: Choose) -> RequestDraft:
    return replace(made, permission=one_of("", "admin", "READ", "read,trade", "withdraw "))


@_defect(Outcome.PERMISSION, "withdraw")
def withdraws_from_anywhere(made: RequestDraft, one_of: Choose) -> RequestDraft:
    return replace(made, restricted=False, networks=one_of((), made.networks))


@_defect(Outcome.ADDRESS_REFUSED)
def address_is_not_listed(made: RequestDraft, one_of: Choose) -> RequestDraft:
    networks = made.networks if made.restricted else LISTS[0][0]
    address = one_of(UNLISTED, "::ffff:198.51.100.1", "2001:db9::1", "203.0.114.0", "203.0.112.255")
    return replace(made, restricted=True, networks=networks, address=address)


@_defect(Outcome.ADDRESS_REFUSED)
def address_is_none(made: RequestDraft, one_of: Choose) -> RequestDraft:
    return replace(made, address=one_of("", "x", "203.0.113.09", "203.0.113.", "::1%lo", " 203.0.113.9"))


@_defect(Outcome.ADDRESS_REFUSED)
def list_is_empty(made: RequestDraft, one_of: Choose) -> RequestDraft:
    return replace(made, restricted=True, networks=())


@_defect(Outcome.SIGNATURE)
def credential_has_ended(made: RequestDraft, one_of: Choose) -> RequestDraft:
    return replace(made, credential=replace(made.credential, retires=one_of(NOW, NOW - 1, NOW - FAR)))


@_defect(Outcome.SIGNATURE)
def signed_by_somebody_else(made: RequestDraft, one_of: Choose) -> RequestDraft:
    kind = made.credential.signing_key.kind
    if made.other is not None and made.other.signing_key.kind is kind:
        made = replace(made, other=None)
    return replace(made, by=signing_key(kind, 1))


@_defect(Outcome.SIGNATURE)
def altered_after_signing(made: RequestDraft, one_of: Choose) -> RequestDraft:
    added = one_of(["quantity=9", *made.pieces], [*made.pieces, "quantity=9"])
    shortened = [piece.removesuffix(piece[-1]) if piece == made.pieces[0] else piece for piece in made.pieces]
    plain = made.pieces[0] not in (TIME, WINDOW) and made.pieces[0][-1] != "=" and "%" not in made.pieces[0]
    return replace(made, altered=one_of(added, shortened) if plain else added)


@_defect(Outcome.SIGNATURE)
def signature_is_damaged(made: RequestDraft, one_of: Choose) -> RequestDraft:
    place, spelled = one_of(0, 1, 40, -5, -9), made.spelled

    def damaged(text: bytes) -> str:
        letter = b"0" if text[place : place + 1 or None] != b"0" else b"1"
        whole = bytearray(text)
        whole[place] = letter[0]
        return spelled(bytes(whole))

    return replace(made, spelled=damaged)


@_defect(Outcome.SIGNATURE)
def signature_is_cut(made: RequestDraft, one_of: Choose) -> RequestDraft:
    taken, spelled = one_of(1, 2, 4, -1, -4), made.spelled
    return replace(made, spelled=lambda text: spelled(text[:-taken] if taken > 0 else text + b"A" * -taken))


@_defect(Outcome.SIGNATURE)
def signature_has_another_spelling(made: RequestDraft, one_of: Choose) -> RequestDraft:
    """The same bytes of an Ed25519 signature, in base64 with other padding bits in its last group."""
    if made.credential.signing_key.kind is not Kind.ED25519:
        made = replace(made, credential=replace(made.credential, signing_key=signing_key(Kind.ED25519)))

    def other(text: bytes) -> str:
        last = LETTERS.index(text[85:86])
        return percent(text[:85] + LETTERS[last + 1 : last + 2] + b"==")

    return replace(made, spelled=other)


@_defect(Outcome.SIGNATURE)
def credential_is_of_another_kind(made: RequestDraft, one_of: Choose) -> RequestDraft:
    kinds = [kind for kind in Kind if kind is not made.credential.signing_key.kind]
    return replace(made, credential=replace(made.credential, kind=one_of(*kinds)))


@_defect(Outcome.SIGNATURE)
def secret_is_empty(made: RequestDraft, one_of: Choose) -> RequestDraft:
    return replace(made, credential=replace(made.credential, signing_key=NO_SECRET), spelled=bytes.decode)


@_defect(Outcome.SIGNATURE)
def rsa_key_is_of_no_size_that_signs(made: RequestDraft, one_of: Choose) -> RequestDraft:
    credential = replace(made.credential, signing_key=rsa_signing_key(one_of(2048, 3070)))
    return replace(made, credential=credential, spelled=percent)


@_defect(Outcome.SIGNATURE)
def byte_that_no_query_has(made: RequestDraft, one_of: Choose) -> RequestDraft:
    odd = one_of('odd="', "odd=<", "odd= x", "odd=\u00e9", "odd=%", "odd=%4", "odd=%4g", "odd=x%", "odd=[1]")
    return replace(made, pieces=[*made.pieces, odd] if one_of(True, False) else [odd, *made.pieces])


@_defect(Outcome.STALE)
def stale(made: RequestDraft, one_of: Choose) -> RequestDraft:
    micro = made.stamp[13:]
    window = float(made.window or "5000")
    return replace(made, stamp=f"{NOW - int(window) - one_of(1, 2, FAR)}{micro}")


@_defect(Outcome.AHEAD)
def ahead(made: RequestDraft, one_of: Choose) -> RequestDraft:
    return replace(made, stamp=f"{NOW + one_of(1000, 1001, FAR)}{made.stamp[13:]}")


@_defect(Outcome.RECV_WINDOW)
def window_is_too_long(made: RequestDraft, one_of: Choose) -> RequestDraft:
    pieces = made.pieces if made.window is not None else [*made.pieces, WINDOW]
    return replace(made, window=one_of("60001", "99999", "60000.001", "999999"), pieces=pieces)


@_defect(Outcome.PARAMETER_DUPLICATE)
def named_twice(made: RequestDraft, one_of: Choose) -> RequestDraft:
    first, second = one_of(
        ("symbol2=1", "symbol2=1"), ("symbol2=1", "symbol2=2"), ("b2=1", "%622=1"), (TIME, f"timestamp={NOW}"),
        (TIME, f"%74imestamp={NOW}"), ("recvWindow=5000", "%72ecvWindow=5000"), ("a+b=1", "a%20b=1"),
    )  # fmt: skip
    kept = [piece for piece in made.pieces if piece not in (first, WINDOW if "ecv" in first else first)]
    window = None if "ecv" in first else made.window
    stamp = str(NOW) + made.stamp[13:]
    return replace(made, pieces=[first, *kept, second], window=window, stamp=stamp)


@_defect(Outcome.PARAMETER_MISSING)
def without_its_time(made: RequestDraft, one_of: Choose) -> RequestDraft:
    if one_of(True, False):
        return replace(made, pieces=[piece for piece in made.pieces if piece != TIME])
    stamps = ("", "x", f"{NOW}.0", f"+{NOW}", f"{NOW}x", "\u06f1" * 13, f"-{NOW}", f"+{NOW}"[:13], "1e12")
    return replace(made, stamp=one_of(*stamps))


@_defect(Outcome.PARAMETER_MISSING)
def window_is_no_number(made: RequestDraft, one_of: Choose) -> RequestDraft:
    pieces = made.pieces if made.window is not None else [*made.pieces, WINDOW]
    return replace(
        made, window=one_of("", "x", "-1", "5e3", "5000.", "+5000", "5_0", "\u06f5"), pieces=pieces
    )


@_defect(Outcome.PARAMETER_MISSING)
def without_signature(made: RequestDraft, one_of: Choose) -> RequestDraft:
    return replace(made, signs=False) if one_of(True, False) else replace(made, spelled=lambda _text: "")


#: All reasons for a rejection.
REASONS = frozenset(defect.outcome for defect in DEFECTS.values())


@st.composite
def refused(draw: Callable[[st.SearchStrategy[Any]], Any], name: str) -> tuple[RequestDraft, RequestDraft]:
    """Draw a request with one defect, and the same request without it."""
    defect = DEFECTS[name]
    good = draw(allowed(defect.permissions))
    bad = defect.spoil(good, lambda *values: draw(st.sampled_from(values)))
    return replace(bad, outcome=defect.outcome, defect=name, fast=False), good


def each_kind(examples: int) -> list[tuple[st.SearchStrategy[tuple[RequestDraft, RequestDraft]], int]]:
    """Return strategies with numbers of examples: ``examples`` of each defect, and two allowed ones for three defects.

    A single strategy that draws the defect is not sufficient: hypothesis repeats earlier choices, and of fifty intended
    examples a defect gets eight in one run and ninety in the next.
    """
    passing = (allowed().map(lambda good: (good, good)), 2 * examples * len(DEFECTS) // 3)
    return [passing, *((refused(name), examples) for name in DEFECTS)]
