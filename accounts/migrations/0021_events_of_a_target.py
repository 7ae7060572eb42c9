"""An index for the events of a key, a session or another object."""

from django.db import migrations, models

from hitobit_portal.database.online_indexes import AddIndexOnline


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ("accounts", "0020_events_of_an_address"),
    ]

    operations = [
        AddIndexOnline(
            "auditevent",
            models.Index(fields=["target", "id"], condition=~models.Q(target=""), name="events_of_a_target"),
        ),
    ]
