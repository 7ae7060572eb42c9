"""Gateways are told when the exchange's id of a key's owner is set (PostgreSQL; on SQLite they are told of every write)."""

from django.db import migrations

BEFORE = "is_active, frozen_at, quarantined_until"
AFTER = f"{BEFORE}, external_id"


def listen_to(columns):
    def change(apps, schema_editor):
        if schema_editor.connection.vendor != "postgresql":
            return
        schema_editor.execute("DROP TRIGGER IF EXISTS portal_tell_owner ON accounts_user")
        schema_editor.execute(
            f"CREATE TRIGGER portal_tell_owner AFTER UPDATE OF {columns} ON accounts_user "
            "FOR EACH ROW EXECUTE FUNCTION portal_tell_owner()"
        )

    return change


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0012_external_ids"),
        ("apikeys", "0008_trade_until_label"),
    ]

    operations = [migrations.RunPython(listen_to(AFTER), listen_to(BEFORE))]
