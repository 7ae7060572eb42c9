"""MACs, links and a head for the audit trail, and triggers that keep it append-only.

SQLite makes a table anew to change a column, and loses its triggers with it: a later migration that alters
``accounts_auditevent``, ``accounts_auditlink`` or ``accounts_audithead`` runs ``drop`` before and ``create`` after it.

The way through, for pruning: a row in ``accounts_audit_pruning``, which is put there and taken away in one transaction,
so that no other one ever sees it. It is no model, so that nothing of Django's touches it by the way.
"""

import django.db.models.deletion
from django.db import migrations, models

from accounts.choices import audit_mac

#: A rolling upgrade goes on writing events without a MAC until its last old process has ended.
EVENTS_OF_OLD_PROCESSES = 10_000
EVENTS, LINKS, HEAD = "accounts_auditevent", "accounts_auditlink", "accounts_audithead"
GUARD = "accounts_audit_pruning"
NO_CHANGE = "the audit trail is append-only: a row is never changed"
NO_REMOVAL = "the audit trail is append-only: rows are removed by manage.py prune_audit alone"
IS_CLOSED = f"NOT EXISTS (SELECT 1 FROM {GUARD})"  # nosec B608


def _sqlite_table(table, same, keeps):
    """A rule for each verb. INSERT OR REPLACE fires no trigger for the row it removes, so it is met at the insertion."""
    if keeps:
        yield f"""CREATE TRIGGER {table}_keep BEFORE UPDATE ON {table}
        BEGIN SELECT RAISE(ABORT, '{NO_CHANGE}'); END"""
    yield f"""CREATE TRIGGER {table}_stay BEFORE DELETE ON {table} WHEN {IS_CLOSED}
    BEGIN SELECT RAISE(ABORT, '{NO_REMOVAL}'); END"""
    yield f"""CREATE TRIGGER {table}_once BEFORE INSERT ON {table}
    WHEN EXISTS (SELECT 1 FROM {table} WHERE {same})
    BEGIN SELECT RAISE(ABORT, '{NO_CHANGE}'); END"""  # nosec B608


SQLITE = [
    f"CREATE TABLE {GUARD} (id integer PRIMARY KEY CHECK (id = 1))",
    *_sqlite_table(EVENTS, "id = NEW.id", keeps=True),
    *_sqlite_table(LINKS, "sequence = NEW.sequence OR event_id = NEW.event_id", keeps=True),
    *_sqlite_table(HEAD, "id = NEW.id", keeps=False),
]
POSTGRESQL = [
    f"CREATE TABLE {GUARD} (id integer PRIMARY KEY CHECK (id = 1))",
    f"""CREATE FUNCTION accounts_audit_rules() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF TG_OP = 'UPDATE' THEN
            RAISE EXCEPTION '{NO_CHANGE}' USING ERRCODE = 'check_violation';
        ELSIF {IS_CLOSED} THEN
            RAISE EXCEPTION '{NO_REMOVAL}' USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$""",
    *(
        f"""CREATE TRIGGER {table}_rules BEFORE {verbs} ON {table}
        FOR EACH STATEMENT EXECUTE FUNCTION accounts_audit_rules()"""
        for table, verbs in (
            (EVENTS, "UPDATE OR DELETE OR TRUNCATE"),
            (LINKS, "UPDATE OR DELETE OR TRUNCATE"),
            (HEAD, "DELETE OR TRUNCATE"),
        )
    ),
]
SQLITE_TRIGGERS = [
    *(f"{table}_{rule}" for table in (EVENTS, LINKS) for rule in ("keep", "stay", "once")),
    *(f"{HEAD}_{rule}" for rule in ("stay", "once")),
]
UNDO = {
    "sqlite": [*(f"DROP TRIGGER {name}" for name in SQLITE_TRIGGERS), f"DROP TABLE {GUARD}"],
    "postgresql": [
        *(f"DROP TRIGGER {table}_rules ON {table}" for table in (EVENTS, LINKS, HEAD)),
        "DROP FUNCTION accounts_audit_rules()",
        f"DROP TABLE {GUARD}",
    ],
}


def create(apps, schema_editor):
    for statement in {"sqlite": SQLITE, "postgresql": POSTGRESQL}[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


def drop(apps, schema_editor):
    for statement in UNDO[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


def begin(apps, schema_editor):
    """The head of a chain that begins now. Events that exist already are linked by the next round of the chores."""
    newest = apps.get_model("accounts", "AuditEvent").objects.aggregate(newest=models.Max("id"))["newest"] or 0
    head = apps.get_model("accounts", "AuditHead")(
        highest_event=newest, unsigned_to=newest + EVENTS_OF_OLD_PROCESSES if newest else 0
    )
    head.mac = audit_mac.head_mac(head)
    head.save(force_insert=True)


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0003_words_of_events'),
    ]

    operations = [
        migrations.AddField(
            model_name='auditevent',
            name='mac',
            field=models.CharField(db_default='', default='', editable=False, max_length=81),
        ),
        migrations.CreateModel(
            name='AuditLink',
            fields=[
                ('sequence', models.BigIntegerField(primary_key=True, serialize=False)),
                ('mac', models.CharField(max_length=81)),
                ('event', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='link', to='accounts.auditevent')),
            ],
            options={
                'ordering': ['sequence'],
            },
        ),
        migrations.CreateModel(
            name='AuditHead',
            fields=[
                ('id', models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ('sequence', models.BigIntegerField(default=0)),
                ('link_mac', models.CharField(blank=True, default='', max_length=81)),
                ('highest_event', models.BigIntegerField(default=0)),
                ('settled_event', models.BigIntegerField(default=0)),
                ('unsigned_to', models.BigIntegerField(default=0)),
                ('streamed', models.BigIntegerField(default=0)),
                ('pruned_sequence', models.BigIntegerField(default=0)),
                ('pruned_mac', models.CharField(blank=True, default='', max_length=81)),
                ('pruned_at', models.DateTimeField(null=True)),
                ('mac', models.CharField(max_length=81)),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='one_head_of_the_chain')],
            },
        ),
        migrations.RunPython(begin, migrations.RunPython.noop),
        migrations.RunPython(create, drop),
    ]
