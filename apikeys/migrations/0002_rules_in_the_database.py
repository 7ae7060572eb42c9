"""Triggers for the rules that compare an old row with a new one, or two tables."""

from django.db import migrations

# Each rule: table, when it fires, its condition (OLD/NEW), and what it does there.
COMEBACK = "OLD.state = 'revoked' AND NEW.state <> 'revoked'"
NO_NETWORK = "NOT EXISTS (SELECT 1 FROM apikeys_allowednetwork WHERE key_id = {row}.{column})"
WITHDRAW_BARE = "NEW.can_withdraw AND " + NO_NETWORK.format(row="NEW", column="id")
DROP_WITHDRAW = (
    "UPDATE apikeys_apikey SET can_withdraw = {false} WHERE id = OLD.key_id AND can_withdraw AND "  # nosec B608
    + NO_NETWORK.format(row="OLD", column="key_id")
)

SQLITE = [
    f"""CREATE TRIGGER apikeys_no_comeback BEFORE UPDATE ON apikeys_apikey WHEN {COMEBACK}
    BEGIN SELECT RAISE(ABORT, 'a revoked key never comes back'); END""",
    f"""CREATE TRIGGER apikeys_withdraw_insert AFTER INSERT ON apikeys_apikey WHEN {WITHDRAW_BARE}
    BEGIN SELECT RAISE(ABORT, 'withdraw needs a trusted network'); END""",
    f"""CREATE TRIGGER apikeys_withdraw_update AFTER UPDATE ON apikeys_apikey WHEN {WITHDRAW_BARE}
    BEGIN SELECT RAISE(ABORT, 'withdraw needs a trusted network'); END""",
    f"""CREATE TRIGGER apikeys_last_network AFTER DELETE ON apikeys_allowednetwork
    BEGIN {DROP_WITHDRAW.format(false="0")}; END""",
    f"""CREATE TRIGGER apikeys_moved_network AFTER UPDATE OF key_id ON apikeys_allowednetwork
    BEGIN {DROP_WITHDRAW.format(false="0")}; END""",
]
POSTGRESQL = [
    f"""CREATE FUNCTION apikeys_guard_key() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF TG_OP = 'UPDATE' AND {COMEBACK} THEN
            RAISE EXCEPTION 'a revoked key never comes back' USING ERRCODE = 'check_violation';
        END IF;
        IF {WITHDRAW_BARE} THEN
            RAISE EXCEPTION 'withdraw needs a trusted network' USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER apikeys_guard_key AFTER INSERT OR UPDATE ON apikeys_apikey
    FOR EACH ROW EXECUTE FUNCTION apikeys_guard_key()""",
    f"""CREATE FUNCTION apikeys_last_network() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        {DROP_WITHDRAW.format(false="false")};
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER apikeys_last_network AFTER DELETE OR UPDATE OF key_id ON apikeys_allowednetwork
    FOR EACH ROW EXECUTE FUNCTION apikeys_last_network()""",
]
UNDO = {
    "sqlite": [
        "DROP TRIGGER apikeys_no_comeback",
        "DROP TRIGGER apikeys_withdraw_insert",
        "DROP TRIGGER apikeys_withdraw_update",
        "DROP TRIGGER apikeys_last_network",
        "DROP TRIGGER apikeys_moved_network",
    ],
    "postgresql": [
        "DROP TRIGGER apikeys_guard_key ON apikeys_apikey",
        "DROP FUNCTION apikeys_guard_key()",
        "DROP TRIGGER apikeys_last_network ON apikeys_allowednetwork",
        "DROP FUNCTION apikeys_last_network()",
    ],
}


def create(apps, schema_editor):
    for statement in {"sqlite": SQLITE, "postgresql": POSTGRESQL}[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


def drop(apps, schema_editor):
    for statement in UNDO[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("apikeys", "0001_initial")]
    operations = [migrations.RunPython(create, drop)]
