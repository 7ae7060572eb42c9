"""The groups of staff, with what each may do as `accounts.choices.roles` says; indexes and columns of the staff's pages."""

from django.db import migrations, models
from django.db.models.functions import Upper

from accounts.choices import events

CUSTOM = {
    "see_contact": "Can see phone numbers and e-mail in full",
    "see_staff": "Can see the accounts of staff",
    "browse_customers": "Can list customers without knowing one",
    "resend_notice": "Can send a notice again",
    "freeze_customer": "Can freeze an account",
    "thaw_customer": "Can thaw an account",
    "quarantine_customer": "Can put an account's keys in quarantine",
    "reset_factors": "Can reset second factors in 24 hours, and stop that",
    "end_sessions": "Can end all sessions of an account",
    "close_customer": "Can close and reopen an account",
    "freeze_keys": "Can pause keys",
    "revoke_keys": "Can delete keys for good",
    "export_events": "Can export security events",
}
OF_DJANGO = {
    "view_user": ("accounts", "user", "Can view customer"),
    "view_apikey": ("apikeys", "apikey", "Can view API key"),
    "view_auditevent": ("accounts", "auditevent", "Can view security event"),
}
DAILY = ["view_user", "view_apikey", "freeze_customer", "freeze_keys", "resend_notice"]
SEES = ["view_user", "view_apikey", "view_auditevent", "see_contact", "browse_customers"]
ROLES = {
    "support": DAILY,
    "security": [
        *DAILY, *SEES, "thaw_customer", "quarantine_customer", "reset_factors", "end_sessions", "close_customer",
        "revoke_keys",
    ],
    "auditor": [*SEES, "see_staff", "export_events"],
}


def make(apps, schema_editor):
    """Permissions are made here and not after all migrations, as Django would, since the groups need them now."""
    Group, Permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    ContentType = apps.get_model("contenttypes", "ContentType")
    found = {}
    for codename, name in CUSTOM.items():
        of, _made = ContentType.objects.get_or_create(app_label="accounts", model="user")
        found[codename], _made = Permission.objects.get_or_create(
            codename=codename, content_type=of, defaults={"name": name}
        )
    for codename, (app, model, name) in OF_DJANGO.items():
        of, _made = ContentType.objects.get_or_create(app_label=app, model=model)
        found[codename], _made = Permission.objects.get_or_create(
            codename=codename, content_type=of, defaults={"name": name}
        )
    for name, codenames in ROLES.items():
        group, _made = Group.objects.get_or_create(name=name)
        group.permissions.set([found[codename] for codename in codenames])


def unmake(apps, schema_editor):
    apps.get_model("auth", "Group").objects.filter(name__in=ROLES).delete()


class Migration(migrations.Migration):

    dependencies = [
        ("accounts", "0004_audit_that_can_be_believed"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="user",
            options={
                "permissions": list(CUSTOM.items()),
                "verbose_name": "customer",
                "verbose_name_plural": "customers",
            },
        ),
        migrations.AddField("notice", "resent", models.PositiveSmallIntegerField(default=0, db_default=0)),
        migrations.AddField("smsdelivery", "parts", models.PositiveSmallIntegerField(default=1, db_default=1)),
        migrations.AddIndex(
            "user", models.Index(Upper("email"), condition=~models.Q(email=""), name="users_by_email")
        ),
        migrations.AddIndex(
            "user",
            models.Index(
                fields=["frozen_at"], condition=models.Q(frozen_at__isnull=False), name="frozen_users"
            ),
        ),
        migrations.AddIndex(
            "user",
            models.Index(
                fields=["quarantined_until"],
                condition=models.Q(quarantined_until__isnull=False),
                name="quarantined_users",
            ),
        ),
        migrations.AddIndex("auditevent", models.Index(fields=["event", "at"], name="events_by_kind")),
        # By reference: a new event is no change of the database, and needs no migration from now on.
        migrations.AlterField(
            "auditevent", "event", models.CharField(choices=events.choices, max_length=40, verbose_name="event")
        ),
        migrations.RunPython(make, unmake),
    ]
