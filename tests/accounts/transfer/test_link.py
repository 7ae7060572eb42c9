"""``manage.py link_users``: which existing accounts get an external id, and that none gets one twice."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.choices.events import Event
from accounts.models import AuditEvent, Notice, User
from accounts.transfer import RowProblem
from tests.support import people
from tests.support.people import Person, customer, half_enrolled, newcomer

pytestmark = pytest.mark.django_db
Report = list[tuple[int, str]]


def run(tmp_path: Path, data: str, *arguments: str, form: str = "csv") -> tuple[dict[str, Any], Report]:
    """Link ``data``; return the JSON document, and (line, reason) of the report."""
    file, report, out = tmp_path / "links", tmp_path / "report", io.StringIO()
    file.write_text(data, encoding="utf-8")
    options = ["--format", form, "--report", str(report), "--json", *arguments]
    try:
        call_command("link_users", str(file), *options, stdout=out)
        status = 0
    except SystemExit as error:
        status = int(str(error.code))
    document = json.loads(out.getvalue())
    assert status == (1 if document["refused"] else 0)
    lines = report.read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0]) == {"report": "link_users"}
    problems = [json.loads(line) for line in lines[1:]]
    return document, [(problem["line"], problem["reason"]) for problem in problems]


def id_of(person: Person) -> str | None:
    return User.objects.get(pk=person.user.pk).external_id


def test_accounts_are_linked_by_number_and_by_confirmed_phone(tmp_path: Path) -> None:
    sara, ali, mina = customer(), customer(), half_enrolled()
    data = (
        f"user,phone,external_id\n{sara.user.pk},,c-1\n,{ali.user.phone},c-2\n,0{mina.user.phone[3:]},c-3\n"
    )
    document, report = run(tmp_path, data)
    assert document == {
        "dry_run": False, "rows": 3, "linked": 3, "unchanged": 0, "refused": 0, "reasons": {},
    }  # fmt: skip
    assert report == []
    assert [id_of(person) for person in (sara, ali, mina)] == ["c-1", "c-2", "c-3"]
    events = AuditEvent.objects.filter(event=Event.EXCHANGE_ID_SET.value).order_by("pk")
    assert [event.customer for event in events] == [sara.user, ali.user, mina.user]
    assert [(event.detail["via"], event.detail["new"]) for event in events[:1]] == [("command", "c-1")]
    assert not Notice.objects.exists(), "a message to every customer, on a day that the operator chose"


def test_json_lines_have_numbers_as_numbers(tmp_path: Path) -> None:
    sara, ali = customer(), customer()
    rows = [
        {"user": sara.user.pk, "external_id": "c-1"},
        {"phone": ali.user.phone, "external_id": "c-2"},
        {"user": True, "external_id": "c-3"},
    ]
    document, report = run(tmp_path, "\n".join(map(json.dumps, rows)), form="jsonl")
    assert (document["linked"], report) == (2, [(3, "type")])
    assert (id_of(sara), id_of(ali)) == ("c-1", "c-2")


def test_second_run_changes_nothing(tmp_path: Path) -> None:
    sara, ali = customer(), customer()
    data = f"user,external_id\n{sara.user.pk},c-1\n{ali.user.pk},c-2\n"
    run(tmp_path, data)
    document, _report = run(tmp_path, data)
    assert (document["linked"], document["unchanged"]) == (0, 2)
    assert AuditEvent.objects.filter(event=Event.EXCHANGE_ID_SET.value).count() == 2


def test_dry_run_says_what_the_run_does_and_stores_nothing(tmp_path: Path) -> None:
    sara, ali = customer(), customer()
    data = f"user,external_id\n{sara.user.pk},c-1\n{ali.user.pk},c-1\n{ali.user.pk},\n"
    dry, report = run(tmp_path, data, "--dry-run", "--batch", "1")
    assert (id_of(sara), AuditEvent.objects.count()) == (None, 0)
    assert run(tmp_path, data, "--batch", "1") == ({**dry, "dry_run": False}, report)
    assert id_of(sara) == "c-1"


def test_each_bad_row_has_its_reason_and_the_rest_is_linked(tmp_path: Path) -> None:
    good, linked, other, staff = customer(), customer(), customer(), customer(is_staff=True)
    User.objects.filter(pk=linked.user.pk).update(external_id="c-old")
    unconfirmed, pending = newcomer(), newcomer()
    User.objects.filter(pk=pending.user.pk).update(joined_at=None)
    rows: list[tuple[str, str, str, RowProblem | None]] = [
        (str(good.user.pk), "", "c-1", None),
        (str(other.user.pk), "", "c-1", RowProblem.REPEATED_ID),
        (str(good.user.pk), "", "c-2", RowProblem.REPEATED_ACCOUNT),
        ("", good.user.phone, "c-3", RowProblem.REPEATED_ACCOUNT),
        ("", "", "c-4", RowProblem.WHICH_ACCOUNT),
        (str(other.user.pk), other.user.phone, "c-5", RowProblem.WHICH_ACCOUNT),
        ("-1", "", "c-6", RowProblem.WHICH_ACCOUNT),
        ("999999999999999999", "", "c-7", RowProblem.NO_ACCOUNT),
        ("", "02188887777", "c-8", RowProblem.PHONE),
        ("", "09359999999", "c-9", RowProblem.NO_ACCOUNT),
        (str(staff.user.pk), "", "c-10", RowProblem.NO_ACCOUNT),
        ("", pending.user.phone, "c-11", RowProblem.NO_ACCOUNT),
        ("", unconfirmed.user.phone, "c-12", RowProblem.PHONE_UNCONFIRMED),
        (str(linked.user.pk), "", "c-13", RowProblem.OTHER_ID),
        (str(other.user.pk), "", "c-old", RowProblem.ID_TAKEN),
        (str(other.user.pk), "", "c 14", RowProblem.EXTERNAL_ID),
        (str(other.user.pk), "", "", RowProblem.EXTERNAL_ID),
        (str(other.user.pk), "", f"0{other.user.phone[3:]}", RowProblem.EXTERNAL_ID_IS_PHONE),
        (str(other.user.pk), "", "c-15", None),
    ]
    data = "\n".join(["user,phone,external_id", *(",".join(row[:3]) for row in rows)])
    document, report = run(tmp_path, data)
    wanted = [(n, row[3].code) for n, row in enumerate(rows, start=2) if row[3] is not None]
    assert report == wanted
    assert (document["linked"], document["refused"]) == (2, len(wanted))
    assert (id_of(good), id_of(linked), id_of(other)) == ("c-1", "c-old", "c-15")
    assert id_of(staff) is id_of(pending) is id_of(unconfirmed) is None


@pytest.mark.parametrize("data", ["", "phone\n0935\n", "external_id,password_hash\nc,x\n", "c-1,0935\n"])
def test_file_that_is_none_is_refused_whole(tmp_path: Path, data: str) -> None:
    file = tmp_path / "links"
    file.write_text(data, encoding="utf-8")
    with pytest.raises(CommandError):
        call_command("link_users", str(file), "--format", "csv", stdout=io.StringIO())


def test_report_of_another_command_is_not_written_over(tmp_path: Path) -> None:
    file, report = tmp_path / "links", tmp_path / "report"
    file.write_text("user,external_id\n", encoding="utf-8")
    report.write_text(json.dumps({"report": "import_users"}) + "\n", encoding="utf-8")
    with pytest.raises(CommandError, match="something else"):
        call_command("link_users", str(file), "--format", "csv", "--report", str(report))


def test_linked_id_never_changes(tmp_path: Path) -> None:
    sara = customer()
    run(tmp_path, f"user,external_id\n{sara.user.pk},c-1\n")
    document, report = run(tmp_path, f"user,external_id\n{sara.user.pk},c-2\n")
    assert (document["linked"], report) == (0, [(2, "other_id")])
    assert id_of(sara) == "c-1"


def test_customer_reads_that_the_account_was_linked(tmp_path: Path) -> None:
    sara = customer()
    run(tmp_path, f"user,external_id\n{sara.user.pk},c-1\n")
    assert "c-1" in people.logged_in(sara).get("/activity/").content.decode()
