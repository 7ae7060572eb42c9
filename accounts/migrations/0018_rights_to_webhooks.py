"""Who may see webhooks, and who may send to them again, as `accounts.choices.roles` says."""

from django.db import migrations

NAMES = {
    "view_webhookendpoint": "Can view webhook",
    "send_webhook": "Can send events to webhooks again, and test events",
}
ROLES = {"security": ["view_webhookendpoint", "send_webhook"], "auditor": ["view_webhookendpoint"]}


def give(apps, schema_editor):
    Group, Permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    ContentType = apps.get_model("contenttypes", "ContentType")
    of, _made = ContentType.objects.get_or_create(app_label="accounts", model="webhookendpoint")
    for codename, name in NAMES.items():
        permission, _made = Permission.objects.get_or_create(
            codename=codename, content_type=of, defaults={"name": name}
        )
        for group in Group.objects.filter(name__in=[role for role, names in ROLES.items() if codename in names]):
            group.permissions.add(permission)


def take(apps, schema_editor):
    apps.get_model("auth", "Permission").objects.filter(
        codename__in=NAMES, content_type__app_label="accounts"
    ).delete()


class Migration(migrations.Migration):

    dependencies = [
        ("accounts", "0017_webhooks"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(give, take)]
