"""An index for staff's list of closed accounts."""

from django.db import migrations, models

from hitobit_portal.database.online_indexes import AddIndexOnline


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ("accounts", "0023_newest_events_of_a_customer"),
    ]

    operations = [
        AddIndexOnline(
            "user", models.Index(fields=["id"], condition=models.Q(is_active=False), name="closed_users")
        ),
    ]
