"""The exchange's own ids of customers, and the trigger that keeps them.

SQLite makes a table anew to change a column, and loses its triggers with it: a later migration that alters
``accounts_user`` runs ``drop`` before and ``create`` after it.
"""

from django.db import migrations, models

from accounts.choices import external_ids

NO_CHANGE = "the external id of an account never changes"
SQLITE = f"""CREATE TRIGGER accounts_user_keeps_external_id BEFORE UPDATE OF external_id ON accounts_user
    WHEN OLD.external_id IS NOT NULL AND NEW.external_id IS NOT OLD.external_id
    BEGIN SELECT RAISE(ABORT, '{NO_CHANGE}'); END"""
POSTGRESQL = [
    f"""CREATE FUNCTION accounts_keep_external_id() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION '{NO_CHANGE}' USING ERRCODE = 'check_violation';
    END $$""",
    """CREATE TRIGGER accounts_user_keeps_external_id BEFORE UPDATE OF external_id ON accounts_user FOR EACH ROW
    WHEN (OLD.external_id IS NOT NULL AND NEW.external_id IS DISTINCT FROM OLD.external_id)
    EXECUTE FUNCTION accounts_keep_external_id()""",
]


def create(apps, schema_editor):
    for statement in {"sqlite": [SQLITE], "postgresql": POSTGRESQL}[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


def drop(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute("DROP TRIGGER accounts_user_keeps_external_id")
    else:
        schema_editor.execute("DROP FUNCTION accounts_keep_external_id() CASCADE")


class Migration(migrations.Migration):

    dependencies = [
        ("accounts", "0011_email_help_text"),
    ]

    operations = [
        migrations.AddField(
            model_name="user",
            name="external_id",
            field=models.CharField(
                blank=True, editable=False, max_length=64, null=True, unique=True, verbose_name="exchange ID"
            ),
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.CheckConstraint(
                condition=models.Q(("external_id", None), ("external_id__regex", external_ids.PATTERN), _connector="OR"),
                name="external_id_is_well_formed",
            ),
        ),
        migrations.RunPython(create, drop),
    ]
