"""``manage.py export_users``: what import reads, and no secret."""

import io
import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from accounts.models import AuditEvent, User
from tests.accounts.transfer.test_import import SEED, as_csv, aspnet, row, run
from tests.support import people

pytestmark = pytest.mark.django_db


def exported(form: str, *arguments: str) -> str:
    out = io.StringIO()
    call_command("export_users", "--format", form, *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_what_is_exported_is_imported_with_the_same_fields(tmp_path: Path, form: str) -> None:
    rows = [
        row(1, name='=1+1, "x"', email="a@example.com", language="en", phone_verified="true"),
        row(2, name="سارا", is_active="false") | {"external_id": "-2@x"},
        row(3, totp_secret=SEED, password_hash=aspnet("x")),
    ]
    assert run(tmp_path, as_csv(*rows))[0]["created"] == 3
    people.customer()  # without an external id: there is nothing to name it by
    people.newcomer(is_staff=True)
    User.objects.filter(is_staff=True).update(external_id="staff-1")
    text = exported(form)
    assert SEED not in text
    assert aspnet("x") not in text
    User.objects.exclude(external_id=None).delete()
    document, refused = run(tmp_path, text.encode(), form)
    assert (document["created"], refused) == (3, [])
    assert exported(form) == text
    assert AuditEvent.objects.filter(event="users.exported").count() == 2


def test_secrets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="Secrets are not exported"):
        exported("jsonl", "--with-secrets")
    assert not AuditEvent.objects.filter(event="users.exported").exists()


def test_file_is_new_and_its_owners_alone(tmp_path: Path) -> None:
    run(tmp_path, as_csv(row(1)))
    file = tmp_path / "out"
    assert json.loads(exported("csv", "--output", str(file), "--json")) == {"rows": 1, "output": str(file)}
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().splitlines()[1] == "c-1,+989350000001,,,,false,true"
    with pytest.raises(CommandError, match="can't be made"):
        exported("csv", "--output", str(file))
