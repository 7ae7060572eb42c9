"""Tokens of gateways, and the triggers that tell gateways which keys changed (PostgreSQL; SQLite is asked instead).

The payload is a key's public id; "" for a change of the tokens; "*" for anything else. Counts and times of use change with
every batch and decide nothing: they are not told.
"""

import django.utils.timezone
from django.db import migrations, models

TELL = "PERFORM pg_notify('portal_keys', {payload});"
FUNCTION = """CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    {body}
    RETURN NULL;
END $$"""
KEY_COLUMNS = "key_id, owner_id, state, can_read, can_trade, can_withdraw, ip_policy, expires_at, trade_until"
CREDENTIAL_COLUMNS = "key_id, kind, serial, sealed, public_key, retires_at, first_used_at"
USER_COLUMNS = "is_active, frozen_at, quarantined_until"
OF_KEY = """
    IF TG_OP <> 'INSERT' THEN
        PERFORM pg_notify('portal_keys', key_id) FROM apikeys_apikey WHERE id = OLD.key_id;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM pg_notify('portal_keys', key_id) FROM apikeys_apikey WHERE id = NEW.key_id;
    END IF;"""
FUNCTIONS = {
    "portal_tell_key": """
    IF TG_OP <> 'INSERT' THEN PERFORM pg_notify('portal_keys', OLD.key_id); END IF;
    IF TG_OP <> 'DELETE' THEN PERFORM pg_notify('portal_keys', NEW.key_id); END IF;""",
    "portal_tell_key_of": OF_KEY,
    "portal_tell_owner": "PERFORM pg_notify('portal_keys', key_id) FROM apikeys_apikey WHERE owner_id = NEW.id;",
    "portal_tell_tokens": TELL.format(payload="''"),
    "portal_tell_all": TELL.format(payload="'*'"),
}
TRIGGERS = [
    ("apikeys_apikey", f"INSERT OR DELETE OR UPDATE OF {KEY_COLUMNS}", "ROW", "portal_tell_key"),
    ("apikeys_credential", f"INSERT OR DELETE OR UPDATE OF {CREDENTIAL_COLUMNS}", "ROW", "portal_tell_key_of"),
    ("apikeys_allowednetwork", "INSERT OR DELETE OR UPDATE", "ROW", "portal_tell_key_of"),
    ("accounts_user", f"UPDATE OF {USER_COLUMNS}", "ROW", "portal_tell_owner"),
    ("apikeys_gatewaytoken", "INSERT OR DELETE OR UPDATE OF digest, revoked_at", "STATEMENT", "portal_tell_tokens"),
    *(
        (table, "TRUNCATE", "STATEMENT", "portal_tell_all")
        for table in ("apikeys_apikey", "apikeys_credential", "apikeys_allowednetwork", "apikeys_gatewaytoken")
    ),
]


def create(apps, schema_editor):
    if schema_editor.connection.vendor != "postgresql":
        return
    for name, body in FUNCTIONS.items():
        schema_editor.execute(FUNCTION.format(name=name, body=body))
    for table, events, each, function in TRIGGERS:
        name = function + ("_" + table if each == "STATEMENT" else "")
        schema_editor.execute(
            f"CREATE TRIGGER {name} AFTER {events} ON {table} FOR EACH {each} EXECUTE FUNCTION {function}()"
        )


def drop(apps, schema_editor):
    if schema_editor.connection.vendor != "postgresql":
        return
    for name in FUNCTIONS:
        schema_editor.execute(f"DROP FUNCTION {name}() CASCADE")


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_words_of_events"),
        ("apikeys", "0004_a_keys_whole_life"),
    ]

    operations = [
        migrations.CreateModel(
            name="GatewayToken",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=64, unique=True, verbose_name="name")),
                ("digest", models.CharField(editable=False, max_length=64, unique=True)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name="created"),
                ),
                ("last_used_at", models.DateTimeField(editable=False, null=True, verbose_name="last used")),
                ("revoked_at", models.DateTimeField(editable=False, null=True, verbose_name="revoked")),
            ],
            options={
                "verbose_name": "gateway token",
                "verbose_name_plural": "gateway tokens",
                "ordering": ["created_at", "pk"],
            },
        ),
        migrations.RunPython(create, drop),
    ]
