"""``manage.py import_users``: which rows become accounts, what they can do, and what every bad row is told."""

import base64
import csv
import hashlib
import io
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyotp
import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import (
    PBKDF2PasswordHasher,
    PBKDF2SHA1PasswordHasher,
    ScryptPasswordHasher,
    check_password,
    make_password,
)
from django.core.management import CommandError, call_command
from django.test import RequestFactory

from accounts.access import imported_hashes
from accounts.access.imported_hashes import AspNetIdentityHasher, BCryptHasher
from accounts.actions import pending_accounts
from accounts.factors import verification
from accounts.models import AuditEvent, ImportedHashKind, SmsDevice, TotpDevice, User
from accounts.transfer import COLUMNS, Importer, RowProblem, read_rows
from accounts.transfer.records import MAX_RECORD_BYTES
from hitobit_portal import settings as production_settings
from hitobit_portal.security import crypto
from tests.support import people
from tests.support.concurrency import kill_when
from tests.support.gateways import database_url
from tests.support.password_hashing import QuickArgon2
from tests.support.production import ROOT

pytestmark = pytest.mark.django_db
PASSWORD = "گذرواژهٔ-of-Sara-1"
SEED = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@pytest.fixture
def hashers(settings: Any) -> None:
    """All hashers of production, with the quick argon2id of the tests as the first."""
    settings.PASSWORD_HASHERS = [*settings.PASSWORD_HASHERS, *production_settings.PASSWORD_HASHERS[1:]]


def aspnet(password: str, prf: int = 2, iterations: int = 1_000) -> str:
    return AspNetIdentityHasher().encode(password, "s" * 16, prf, iterations).partition("$")[2]


def row(number: int, **fields: str) -> dict[str, str]:
    return {"external_id": f"c-{number}", "phone": f"+98935{number:07d}", **fields}


def as_csv(*rows: dict[str, str]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_jsonl(*rows: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in rows)


def run(
    tmp_path: Path, data: bytes, form: str = "csv", *arguments: str
) -> tuple[dict[str, Any], list[tuple[int, str]]]:
    """Import ``data``; return the JSON document, and (line, reason) of the report."""
    file, report, out = tmp_path / "users", tmp_path / "report", io.StringIO()
    file.write_bytes(data)
    options = (str(file), "--format", form, "--report", str(report), "--json", *arguments)
    try:
        call_command("import_users", *options, stdout=out)
    except SystemExit as end:
        assert end.code == 1
    document = json.loads(out.getvalue())
    lines = [json.loads(line) for line in report.read_text().splitlines()][1:]
    assert (document["refused"] > 0) == bool(lines)
    return document, [(line["line"], line["reason"]) for line in lines]


def reasons(tmp_path: Path, data: bytes, form: str = "csv", *arguments: str) -> list[tuple[int, str]]:
    return run(tmp_path, data, form, *arguments)[1]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_row_becomes_an_account_with_what_it_had(tmp_path: Path, hashers: None, form: str) -> None:
    full = row(
        1, name="سارا رضایی", email="sara@example.com", language="fa", password_hash=aspnet(PASSWORD),
        phone_verified="true", totp_secret=SEED.lower(), is_active="true",
    )  # fmt: skip
    full["phone"] = "۰۹۳۵ ۰۰۰ ۰۰۰۱"
    bare, off = row(2), row(3, is_active="false", phone_verified="۰")
    document, refused = run(tmp_path, (as_csv if form == "csv" else as_jsonl)(full, bare, off), form)
    assert (document["created"], refused) == (3, [])
    sara = User.objects.select_related("sms", "totp").get(external_id="c-1")
    assert (sara.phone, sara.name, sara.email, sara.language) == (
        "+989350000001", "سارا رضایی", "sara@example.com", "fa",
    )  # fmt: skip
    assert sara.has_both_factors
    assert sara.joined_at is not None
    sealed = TotpDevice.objects.get(user=sara).seed_sealed
    assert SEED not in sealed
    assert crypto.unseal(sealed, verification.seal_owner(sara)).decode() == SEED
    second, third = User.objects.get(external_id="c-2"), User.objects.get(external_id="c-3")
    assert (second.has_authenticator, second.has_phone, second.has_usable_password()) == (False, False, False)
    assert (second.is_active, third.is_active, third.has_phone) == (True, False, False)
    event = AuditEvent.objects.get(event="users.imported")
    assert (event.detail["count"], event.detail["accounts"]) == (3, [sara.pk, third.pk])


def test_login_with_an_imported_hash_replaces_it_by_argon2id(tmp_path: Path, hashers: None) -> None:
    quick = {
        "pbkdf2_sha256": PBKDF2PasswordHasher().encode(PASSWORD, "salt", 1_000),
        "scrypt": ScryptPasswordHasher().encode(PASSWORD, "salt", 1_024, 8, 1),
        "aspnet": aspnet(PASSWORD, prf=1),
        "bcrypt": BCryptHasher().encode(PASSWORD * 5, b"$2b$04$" + b"a" * 21 + b"O"),
    }
    rows = [row(number, password_hash=hashed) for number, hashed in enumerate(quick.values(), 1)]
    assert run(tmp_path, as_csv(*rows))[0]["created"] == 4
    request = RequestFactory().post("/")
    for number, name in enumerate(quick, 1):
        phone, password = f"0935{number:07d}", PASSWORD * 5 if name == "bcrypt" else PASSWORD
        assert (
            authenticate(request, username=phone, password=password + "x" if name != "bcrypt" else "x")
            is None
        )
        before = User.objects.get(external_id=f"c-{number}").password
        assert authenticate(request, username=phone, password=password) is not None, name
        after = User.objects.get(external_id=f"c-{number}").password
        assert not before.startswith("argon2$")
        assert after.startswith("argon2$argon2id$")
        assert authenticate(request, username=phone, password=password) is not None


@pytest.mark.parametrize("version", ["2a", "2b", "2y"])
def test_bcrypt_hash_with_a_careless_salt_is_verified(tmp_path: Path, hashers: None, version: str) -> None:
    """Some programs leave the last four bits of the salt's text as they are; bcrypt's library refuses that."""
    hashed = BCryptHasher().encode(PASSWORD, f"${version}$04${'a' * 21}O".encode()).replace("aO", "aP")
    assert run(tmp_path, as_csv(row(1, password_hash=hashed)))[0]["created"] == 1
    for phone in ("09350000001", "09359999999"):
        assert authenticate(None, username=phone, password="wrong") is None
    assert authenticate(None, username="09350000001", password=PASSWORD) is not None


def test_hash_of_asp_net_itself_is_verified() -> None:
    """The bytes are laid out by hand: marker, PRF, iterations, length of the salt, salt, key."""
    salt = bytes(range(16))
    for prf, name in ((0, "sha1"), (1, "sha256"), (2, "sha512")):
        key = hashlib.pbkdf2_hmac(name, PASSWORD.encode(), salt, 10_000, 32)
        raw = bytes((1, 0, 0, 0, prf, 0, 0, 0x27, 0x10, 0, 0, 0, 16)) + salt + key
        encoded = f"aspnet_identity_v3${base64.b64encode(raw).decode()}"
        assert AspNetIdentityHasher().verify(PASSWORD, encoded)
        assert not AspNetIdentityHasher().verify(PASSWORD + "x", encoded)


def test_first_login_of_an_imported_account_goes_through_enrolment(tmp_path: Path, hashers: None) -> None:
    """Nobody gets more than they had: a factor that is missing is set up, one that exists is proved before."""
    for number, fields, page in (
        (1, {}, "/enrol/sms/"),
        (2, {"phone_verified": "false", "totp_secret": SEED}, "/login/second-factor/"),
        (3, {"phone_verified": "true"}, "/login/second-factor/"),
        (4, {"phone_verified": "true", "totp_secret": SEED}, "/login/second-factor/"),
    ):
        run(tmp_path, as_csv(row(number, password_hash=aspnet(PASSWORD), **fields)))
        browser = people.browser()
        answer = browser.post("/login/", {"phone": f"0935{number:07d}", "password": PASSWORD})
        assert (answer.status_code, answer["Location"]) == (302, page), number
        assert browser.get("/dashboard/").status_code == 302
        if number == 2:
            code = pyotp.TOTP(SEED).now()
            assert browser.post(page, {"code": code})["Location"] == "/enrol/sms/"


BAD_ROWS: list[tuple[dict[str, str], RowProblem]] = [
    ({"external_id": ""}, RowProblem.EXTERNAL_ID),
    ({"external_id": "a b"}, RowProblem.EXTERNAL_ID),
    ({"external_id": "a" * 65}, RowProblem.EXTERNAL_ID),
    ({"external_id": "09350000001"}, RowProblem.EXTERNAL_ID_IS_PHONE),
    ({"phone": ""}, RowProblem.PHONE),
    ({"phone": "021 8888 7777"}, RowProblem.PHONE),
    ({"phone": "+88216 1234567"}, RowProblem.PHONE),
    ({"phone": "0935"}, RowProblem.PHONE),
    ({"name": "n" * 81}, RowProblem.NAME),
    ({"name": "win at evil.example"}, RowProblem.NAME),
    ({"name": "a\u202eb"}, RowProblem.NAME),
    ({"email": "sara@"}, RowProblem.EMAIL),
    ({"language": "de"}, RowProblem.LANGUAGE),
    ({"phone_verified": "perhaps"}, RowProblem.BOOLEAN),
    ({"is_active": "2"}, RowProblem.BOOLEAN),
    ({"totp_secret": "11111111"}, RowProblem.TOTP_SECRET),
    ({"totp_secret": "JBSWY3DP"}, RowProblem.TOTP_SECRET),
    ({"totp_secret": "===="}, RowProblem.TOTP_SECRET),
    ({"password_hash": "hunter2"}, RowProblem.PASSWORD_HASH),
    ({"password_hash": "md5$salt$5f4dcc3b5aa765d61d8327deb882cf99"}, RowProblem.PASSWORD_HASH),
    ({"password_hash": "5f4dcc3b5aa765d61d8327deb882cf99"}, RowProblem.PASSWORD_HASH),
    ({"password_hash": "pbkdf2_sha256$3000000000$s$" + "A" * 43 + "="}, RowProblem.PASSWORD_HASH),
    ({"password_hash": "pbkdf2_sha256$1000$s$AAAA"}, RowProblem.PASSWORD_HASH),
    ({"password_hash": "scrypt$1073741824$s$8$1$" + "A" * 86 + "=="}, RowProblem.PASSWORD_HASH),
    ({"password_hash": "bcrypt$$2b$31$" + "a" * 53}, RowProblem.PASSWORD_HASH),
    ({"password_hash": f"scrypt$65536$salt$1$1${'A' * 86}=="}, RowProblem.PASSWORD_HASH),
    ({"password_hash": f"argon2$argon2id$v=19$m=8192,t=1,p=1${'a' * 22}${'A' * 43}"}, RowProblem.PASSWORD_HASH),
    ({"password_hash": f"argon2$argon2id$v=19$m=8192,t=1,p=1${'A' * 22}${'A' * 25}"}, RowProblem.PASSWORD_HASH),
    ({"password_hash": f"argon2$argon2id$v=19$m=99999999,t=9,p=1${'A' * 22}${'A' * 43}"}, RowProblem.PASSWORD_HASH),
    ({"password_hash": base64.b64encode(b"\x00" + b"x" * 48).decode()}, RowProblem.PASSWORD_HASH),
    ({"password_hash": base64.b64encode(b"\x01" + b"\xff" * 60).decode()}, RowProblem.PASSWORD_HASH),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "problem"), BAD_ROWS, ids=[f"{i}-{each[1].code}" for i, each in enumerate(BAD_ROWS)]
)
def test_bad_row_is_refused_with_line_and_reason_and_the_rest_is_stored(
    tmp_path: Path, fields: dict[str, str], problem: RowProblem
) -> None:
    data = as_csv(row(1) | fields, row(2))
    dry, _ = run(tmp_path, data, "csv", "--dry-run")
    assert not User.objects.filter(external_id="c-2").exists()
    document, refused = run(tmp_path, data)
    assert refused == [(2, problem.code)]
    assert {**document, "dry_run": True} == dry
    assert list(User.objects.exclude(external_id=None).values_list("external_id", flat=True)) == ["c-2"]


def test_report_and_output_have_no_value_of_any_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret, hashed = "MFRGGZDFMZTWQ2LKNNWG23TPOA", aspnet("x")
    swapped = {
        "external_id": secret,
        "phone": hashed,
        "name": "0935",
        "totp_secret": hashed,
        "password_hash": secret,
    }
    run(tmp_path, as_csv(swapped, row(1, password_hash=secret), row(2, totp_secret=hashed)))
    file = tmp_path / "users"
    with pytest.raises(SystemExit):
        call_command("import_users", str(file), "--format", "csv", stdout=io.StringIO())
    printed = capsys.readouterr()
    output = (tmp_path / "report").read_text() + printed.out + printed.err
    assert "line 2" in output
    for value in (secret, hashed, "9350000001"):
        assert value not in output


def test_repeated_and_taken_ids_and_phones_are_refused(tmp_path: Path) -> None:
    owner = people.customer()
    other = row(7) | {"phone": owner.user.phone}
    first = as_csv(
        row(1), row(1) | {"phone": "09350000009"}, row(9) | {"phone": "0935 000 0001"}, row(2), other,
        row(7) | {"phone": "09350000009"},
    )  # fmt: skip
    expected = [(3, "repeated_id"), (4, "repeated_phone"), (6, "phone_taken")]
    assert reasons(tmp_path, first, "csv", "--dry-run") == expected
    document, refused = run(tmp_path, first)
    assert (document["created"], refused) == (3, expected)
    again, refused = run(tmp_path, first)
    # The account of the last row exists by now, so the row before it, of the same id, has another phone.
    assert (again["created"], again["unchanged"]) == (0, 3)
    assert refused == [*expected[:2], (6, "other_phone")]
    assert reasons(tmp_path, as_csv(row(1) | {"phone": "09350000088"})) == [(2, "other_phone")]
    assert User.objects.get(pk=owner.user.pk).external_id is None


def test_existing_account_is_never_changed(tmp_path: Path) -> None:
    run(tmp_path, as_csv(row(1, name="Sara")))
    User.objects.filter(external_id="c-1").update(is_active=False)
    changed = row(
        1, name="Mina", email="x@example.com", totp_secret=SEED, phone_verified="true", is_active="true"
    )
    assert run(tmp_path, as_csv(changed))[0]["unchanged"] == 1
    sara = User.objects.get(external_id="c-1")
    assert (sara.name, sara.email, sara.is_active, sara.has_authenticator, sara.has_phone) == (
        "Sara", "", False, False, False,
    )  # fmt: skip


def test_pending_account_gives_way(tmp_path: Path) -> None:
    pending_accounts.get_or_create_row("+989350000001")
    assert run(tmp_path, as_csv(row(1)))[0]["created"] == 1
    assert User.objects.get(phone="+989350000001").joined_at is not None


def test_file_may_have_a_mark_crlf_and_empty_lines(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + as_csv(row(1), row(2)).replace(b"\n", b"\r\n") + b"\r\n\r\n"
    assert run(tmp_path, data)[0] == {
        "dry_run": False, "rows": 2, "created": 2, "unchanged": 0, "refused": 0, "reasons": {},
    }  # fmt: skip


def test_line_end_in_a_name_does_not_become_a_row(tmp_path: Path) -> None:
    """SECURITY: whoever chooses a name at the exchange would choose a row, with the identity of somebody else."""
    smuggled = "x\nc-9,+989350000009,,,,,true," + SEED + ",true\ny"
    assert reasons(tmp_path, as_csv(row(1, name=smuggled), row(2))) == [(2, "name")]
    long = "x" * MAX_RECORD_BYTES + smuggled
    assert reasons(tmp_path, as_csv(row(3, name=long), row(4))) == [(2, "too_long")]
    names = User.objects.exclude(external_id=None).order_by("external_id")
    assert list(names.values_list("external_id", flat=True)) == [
        "c-2",
        "c-4",
    ]


def test_rows_that_are_no_rows_have_a_reason_each(tmp_path: Path) -> None:
    good = as_csv(row(1)).splitlines(keepends=True)
    bad = [
        b"c-2,\xff\xfe,,,,,,,\n",
        b"c-3\n",
        b"c-4,1,2,3,4,5,6,7,8,9\n",
        b"c-5,\0,,,,,,,\n",
        b'"a"b",x,,,,,,,\n',
    ]
    assert reasons(tmp_path, good[0] + b"".join(bad[:4]) + good[1]) == [
        (2, "not_utf8"), (3, "columns"), (4, "columns"), (5, "malformed"),
    ]  # fmt: skip
    assert reasons(tmp_path, good[0] + bad[4] + b'"\n' + good[1]) == [(2, "malformed")]
    assert reasons(tmp_path, good[0] + good[1] + b'c-7,"09350000007,,,,,,,\n' + b"c-8,x\n") == [
        (3, "malformed")
    ]
    lines = [
        b"[]\n", b"{\n", b'{"external_id": 7, "phone": "09350000003"}\n', b'{"external_id": "a", "x": 1}\n',
        b'{"external_id": "a", "external_id": "b"}\n', b"[" * 60_000 + b"\n", b"1" * 60_000 + b"\n",
        b'{"external_id": "a", "phone": "09350000003", "is_active": 1}\n', b'"\\ud800"\n',
    ]  # fmt: skip
    assert reasons(tmp_path, b"".join(lines), "jsonl") == [
        (1, "malformed"), (2, "malformed"), (3, "type"), (4, "columns"), (5, "columns"), (6, "malformed"),
        (7, "malformed"), (8, "type"), (9, "malformed"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        as_csv(row(1)).decode().encode("utf-16"), as_csv(row(1)).decode().encode("utf-16-le"), b"", b"\n\n",
        b"c-1,09350000001\n", b"external_id,name\nc-1,x\n", b"external_id,phone,phone\n", b"external_id;phone\n",
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00", b"\xff\n",
    ],
)  # fmt: skip
def test_file_that_is_none_is_refused_whole_without_repeating_it(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "users").write_bytes(data)
    with pytest.raises(CommandError) as error:
        call_command("import_users", str(tmp_path / "users"), "--format", "csv")
    assert "0935" not in str(error.value)
    assert not User.objects.exclude(external_id=None).exists()


def test_more_kinds_of_hashes_than_a_login_can_afford_are_refused(tmp_path: Path, hashers: None) -> None:
    rows = [row(number, password_hash=aspnet("x", iterations=1_000 + number)) for number in range(1, 7)]
    expected = [(6, "hash_kinds"), (7, "hash_kinds")]
    assert reasons(tmp_path, as_csv(*rows), "csv", "--dry-run") == expected
    assert reasons(tmp_path, as_csv(*rows)) == expected
    assert ImportedHashKind.objects.count() == 4


def test_stand_in_of_a_kind_has_nothing_of_the_hash_that_it_was_made_for(hashers: None) -> None:
    """SECURITY: a part is enough to try passwords on, long after the account's own hash was replaced or deleted."""
    brought = [
        PBKDF2PasswordHasher().encode(PASSWORD, "salt", 1_000),
        PBKDF2SHA1PasswordHasher().encode(PASSWORD, "salt", 1_000),
        ScryptPasswordHasher().encode(PASSWORD, "salt", 1_024, 8, 1),
        BCryptHasher().encode(PASSWORD, b"$2b$04$" + b"a" * 21 + b"O"),
        QuickArgon2().encode(PASSWORD, "saltsaltsalt"),
        imported_hashes.read(aspnet(PASSWORD))[0],
    ]
    for hashed in brought:
        other = imported_hashes.stand_in(hashed)
        assert imported_hashes.kind_of(other) == imported_hashes.kind_of(hashed) != ""
        assert len(other) == len(hashed)
        assert not check_password(PASSWORD, other)
        secret = hashed.rpartition("$")[2]
        if hashed.startswith("bcrypt"):
            secret = secret[22:]
        elif hashed.startswith(AspNetIdentityHasher.algorithm):
            secret = secret[40:]  # marker, numbers and salt are before it
        kept = [at for at in range(len(secret) - 4) if secret[at : at + 5] == other[at - len(secret) :][:5]]
        assert kept == [], hashed


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], list[str]]:
    """``work(phone, password)``: the hashes that a login computes which is refused."""
    done: list[str] = []

    def counted(name: Callable[[tuple[Any, ...]], str], real: Any) -> Any:
        def call(*arguments: Any) -> Any:
            done.append(name(arguments))
            return real(*arguments)

        return call

    pbkdf2 = counted(lambda arguments: f"pbkdf2 {arguments[3]}", hashlib.pbkdf2_hmac)
    monkeypatch.setattr(hashlib, "pbkdf2_hmac", pbkdf2)
    for name in ("encode", "verify"):
        argon2 = counted(lambda _arguments: "argon2", getattr(QuickArgon2, name))
        monkeypatch.setattr(QuickArgon2, name, argon2)

    def measure(phone: str, password: str) -> list[str]:
        done.clear()
        assert authenticate(None, username=phone, password=password) is None
        return sorted(done)

    return measure


def test_failed_login_does_the_same_work_for_imported_and_unknown_numbers(
    tmp_path: Path, hashers: None, work: Callable[[str, str], list[str]]
) -> None:
    """SECURITY: else the time of a wrong password says who was imported. Counted is PBKDF2's and argon2's work."""
    run(
        tmp_path,
        as_csv(
            row(1, password_hash=aspnet("x")), row(2, password_hash=aspnet("x", iterations=2_000)), row(3)
        ),
    )
    sara = people.newcomer(password="y")
    works = [
        work(phone, "wrong")
        for phone in ("09350000001", "09350000002", "09350000003", "09359999999", sara.user.phone)
    ]
    assert works == [["argon2", "pbkdf2 1000", "pbkdf2 2000"]] * 5


def test_right_password_that_does_not_log_in_takes_the_work_of_a_wrong_one(
    tmp_path: Path, hashers: None, settings: Any, work: Callable[[str, str], list[str]]
) -> None:
    """SECURITY: else the time confirms the passwords of closed accounts, and of customers on the page of staff."""
    quick, slow = aspnet("x"), aspnet("x", iterations=2_000)
    run(
        tmp_path,
        as_csv(row(1, password_hash=quick, is_active="false"), row(2, password_hash=quick), row(3, password_hash=slow)),
    )  # fmt: skip
    stored = User.objects.order_by("pk").values_list("password", flat=True)
    before, expected = list(stored), ["argon2", "pbkdf2 1000", "pbkdf2 2000"]
    assert work("09350000001", "x") == work("09350000001", "wrong") == expected
    settings.OIDC_ISSUER, settings.OIDC_REQUIRED = "https://accounts.exchange.test", True
    assert work("09350000002", "x") == work("09350000002", "wrong") == expected
    assert list(stored.all()) == before


@pytest.mark.parametrize("new", [PASSWORD + "2", PASSWORD])
def test_login_does_not_replace_a_password_that_was_set_meanwhile(
    tmp_path: Path, hashers: None, monkeypatch: pytest.MonkeyPatch, new: str
) -> None:
    """SECURITY: whoever logs in with the stolen password while its owner resets it would have it back."""
    run(tmp_path, as_csv(row(1, password_hash=aspnet(PASSWORD))))
    sara = User.objects.get(external_id="c-1")
    verify = AspNetIdentityHasher.verify

    def and_meanwhile(self: AspNetIdentityHasher, password: str, encoded: str) -> bool:
        User.objects.filter(pk=sara.pk).update(password=make_password(new))
        return verify(self, password, encoded)

    monkeypatch.setattr(AspNetIdentityHasher, "verify", and_meanwhile)
    logged_in = authenticate(None, username=sara.phone, password=PASSWORD)
    assert (logged_in is not None) == (new == PASSWORD)
    sara.refresh_from_db()
    assert check_password(new, sara.password)
    if isinstance(logged_in, User):
        assert logged_in.get_session_auth_hash() == sara.get_session_auth_hash()


def test_report_replaces_only_an_earlier_report(tmp_path: Path) -> None:
    other = tmp_path / "report"
    other.write_text("precious")
    (tmp_path / "users").write_bytes(as_csv(row(1)))
    for path in (other, tmp_path / "users"):
        with pytest.raises(CommandError, match="something else"):
            call_command("import_users", str(tmp_path / "users"), "--format", "csv", "--report", str(path))
    assert other.read_text() == "precious"
    assert not User.objects.filter(external_id="c-1").exists()
    other.unlink()
    run(tmp_path, as_csv(row(1)))
    run(tmp_path, as_csv(row(1)))
    assert other.stat().st_mode & 0o777 == 0o600


def endless(count: int) -> Iterator[bytes]:
    yield ",".join(COLUMNS).encode() + b"\n"
    for number in range(count):
        yield f"c-{number},0935{number:07d},,,,,{number % 2},,\n".encode()


class Pipe(io.RawIOBase):
    """A file that is made while it is read."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines

    def readline(self, _size: int | None = -1, /) -> bytes:
        return next(self._lines, b"")


def test_memory_is_the_same_for_ten_times_the_rows() -> None:
    peaks = []
    for count in (500, 5_000):
        importer = Importer(dry_run=True, batch=100, refuse=lambda *_: None, progress=lambda: None)
        tracemalloc.start()
        assert importer.run(read_rows(Pipe(endless(count)), "csv")).created == count  # type: ignore[arg-type]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 4,500 rows more, of which none is kept: each would take some hundred bytes.
    assert peaks[1] < peaks[0] + 200_000


def test_line_of_twenty_megabytes_takes_no_memory() -> None:
    def lines() -> Iterator[bytes]:
        yield b"external_id,phone\n"
        for _ in range(320):
            yield b"x" * 65_536
        yield b"\n"
        yield b"c-1,09350000001\n"

    importer = Importer(dry_run=True, batch=500, refuse=lambda *_: None, progress=lambda: None)
    tracemalloc.start()
    summary = importer.run(read_rows(Pipe(lines()), "csv"))  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (summary.created, dict(summary.reasons)) == (1, {"too_long": 1})
    assert peak < 2_000_000


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_import_that_was_killed_is_finished_by_the_next_run(tmp_path: Path) -> None:
    count = 2_000
    file = tmp_path / "users"
    file.write_bytes(b"".join(endless(count)))
    command = ["import_users", str(file), "--format", "csv", "--batch", "100", "--json"]
    environ = {**os.environ, "DATABASE_URL": database_url()}
    kill_when(lambda: User.objects.exclude(external_id=None).count() >= 500, command, environ)
    before = User.objects.exclude(external_id=None).count()
    assert 500 <= before < count
    assert before % 100 == 0, "a batch was stored in part"
    again = [sys.executable, "manage.py", *command]
    done = subprocess.run(again, cwd=ROOT, env=environ, capture_output=True, check=True)
    document = json.loads(done.stdout)
    assert (document["created"], document["unchanged"], document["refused"]) == (count - before, before, 0)
    assert User.objects.exclude(external_id=None).count() == count
    assert SmsDevice.objects.count() == count / 2
