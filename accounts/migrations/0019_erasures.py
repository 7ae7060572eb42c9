"""Erasures of customers: their table, the right to them, and the one change of events that the triggers let through.

An event's personal fields may be emptied, and nothing else of it changed, while the guard of migration 0004 is open.
``erased_mac`` is nullable, so that SQLite adds a column and does not make the table anew, which would lose triggers.
"""

from importlib import import_module

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

rules = import_module("accounts.migrations.0004_audit_that_can_be_believed")
RIGHT = "erase_customer"
NAME = "Can request, confirm and cancel the erasure of a customer"
KEPT = ("id", "at", "event", "target", "succeeded", "mac")
NULLABLE = ("actor_id", "customer_id")
EMPTIED = "NEW.label = '' AND NEW.detail = '{}' AND NEW.address IN ('', OLD.address) AND NEW.agent IN ('', OLD.agent) " \
    "AND NEW.request_id IN ('', OLD.request_id)"


def _erases(same):
    """The condition on NEW and OLD; ``same``: that two columns that may be null are the same."""
    kept = [f"NEW.{name} = OLD.{name}" for name in KEPT] + [same.format(name=name) for name in NULLABLE]
    return " AND ".join([*kept, EMPTIED])


ERASES_ON_SQLITE = _erases("NEW.{name} IS OLD.{name}")
ERASES_ON_POSTGRESQL = _erases("NEW.{name} IS NOT DISTINCT FROM OLD.{name}")
SQLITE_KEEP = f"""CREATE TRIGGER {rules.EVENTS}_keep BEFORE UPDATE ON {rules.EVENTS}
    WHEN {rules.IS_CLOSED} OR NOT ({ERASES_ON_SQLITE})
    BEGIN SELECT RAISE(ABORT, '{rules.NO_CHANGE}'); END"""
POSTGRESQL = [
    f"""CREATE OR REPLACE FUNCTION accounts_audit_rules() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF TG_OP = 'UPDATE' AND (TG_TABLE_NAME <> '{rules.EVENTS}' OR {rules.IS_CLOSED}) THEN
            RAISE EXCEPTION '{rules.NO_CHANGE}' USING ERRCODE = 'check_violation';
        ELSIF {rules.IS_CLOSED} THEN
            RAISE EXCEPTION '{rules.NO_REMOVAL}' USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$""",
    f"""CREATE FUNCTION accounts_audit_no_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION '{rules.NO_CHANGE}' USING ERRCODE = 'check_violation';
    END $$""",
    f"""CREATE TRIGGER {rules.EVENTS}_erasure_rules BEFORE UPDATE ON {rules.EVENTS} FOR EACH ROW
        WHEN (NOT ({ERASES_ON_POSTGRESQL}))
        EXECUTE FUNCTION accounts_audit_no_change()""",
]


def create(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute(f"DROP TRIGGER {rules.EVENTS}_keep")
        schema_editor.execute(SQLITE_KEEP)
        return
    for statement in POSTGRESQL:
        schema_editor.execute(statement)


def drop(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute(f"DROP TRIGGER {rules.EVENTS}_keep")
        schema_editor.execute(next(iter(rules._sqlite_table(rules.EVENTS, "id = NEW.id", keeps=True))))
        return
    schema_editor.execute("DROP FUNCTION accounts_audit_no_change() CASCADE")
    schema_editor.execute(rules.POSTGRESQL[1].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))


def give(apps, schema_editor):
    Group, Permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    of, _made = apps.get_model("contenttypes", "ContentType").objects.get_or_create(app_label="accounts", model="user")
    permission, _made = Permission.objects.get_or_create(codename=RIGHT, content_type=of, defaults={"name": NAME})
    for group in Group.objects.filter(name="security"):
        group.permissions.add(permission)


def take(apps, schema_editor):
    apps.get_model("auth", "Permission").objects.filter(codename=RIGHT, content_type__app_label="accounts").delete()


class Migration(migrations.Migration):

    dependencies = [
        ("accounts", "0018_rights_to_webhooks"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="user",
            options={
                "permissions": [
                    ("see_contact", "Can see phone numbers and e-mail in full"),
                    ("see_staff", "Can see the accounts of staff"),
                    ("browse_customers", "Can list customers without knowing one"),
                    ("resend_notice", "Can send a notice again"),
                    ("freeze_customer", "Can freeze an account"),
                    ("thaw_customer", "Can thaw an account"),
                    ("quarantine_customer", "Can put an account's keys in quarantine"),
                    ("reset_factors", "Can reset second factors in 24 hours, and stop that"),
                    ("end_sessions", "Can end all sessions of an account"),
                    ("close_customer", "Can close and reopen an account"),
                    (RIGHT, NAME),
                    ("freeze_keys", "Can pause keys"),
                    ("revoke_keys", "Can delete keys for good"),
                    ("export_events", "Can export security events"),
                ],
                "verbose_name": "customer",
                "verbose_name_plural": "customers",
            },
        ),
        migrations.AddField(
            model_name="auditevent",
            name="erased_mac",
            field=models.CharField(editable=False, max_length=81, null=True),
        ),
        migrations.CreateModel(
            name="Erasure",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reason", models.CharField(blank=True, max_length=200)),
                ("requested_by", models.CharField(max_length=100)),
                ("requested_at", models.DateTimeField()),
                ("due_at", models.DateTimeField()),
                ("closed_account", models.BooleanField()),
                ("confirmed_by", models.CharField(blank=True, max_length=100)),
                ("confirmed_at", models.DateTimeField(null=True)),
                ("cancelled_at", models.DateTimeField(null=True)),
                ("done_at", models.DateTimeField(null=True)),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="erasures",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(cancelled_at=None), fields=("user",), name="one_erasure_an_account"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(confirmed_at=None)
                        | (~models.Q(confirmed_by="") & ~models.Q(confirmed_by=models.F("requested_by"))),
                        name="erasure_confirmed_by_another",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(done_at=None) | models.Q(confirmed_at__isnull=False),
                        name="only_confirmed_erasures_are_done",
                    ),
                ],
            },
        ),
        migrations.RunPython(create, drop),
        migrations.RunPython(give, take),
    ]
