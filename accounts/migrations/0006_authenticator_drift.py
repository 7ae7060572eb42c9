from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_audit_that_can_be_believed"),
        ("accounts", "0005_roles"),
    ]

    operations = [
        migrations.AddField(
            model_name="totpdevice",
            name="drifts",
            field=models.JSONField(default=list, editable=False),
        ),
    ]
