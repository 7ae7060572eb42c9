"""Who may see the results of SMS, as `accounts.choices.roles` says."""

from django.db import migrations

CODENAME = "view_smsdelivery"
ROLES = ["support", "security", "auditor"]


def give(apps, schema_editor):
    Group, Permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    ContentType = apps.get_model("contenttypes", "ContentType")
    of, _made = ContentType.objects.get_or_create(app_label="accounts", model="smsdelivery")
    permission, _made = Permission.objects.get_or_create(
        codename=CODENAME, content_type=of, defaults={"name": "Can view SMS delivery"}
    )
    for group in Group.objects.filter(name__in=ROLES):
        group.permissions.add(permission)


def take(apps, schema_editor):
    apps.get_model("auth", "Permission").objects.filter(
        codename=CODENAME, content_type__app_label="accounts"
    ).delete()


class Migration(migrations.Migration):

    dependencies = [
        ("accounts", "0024_closed_customers"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(give, take)]
