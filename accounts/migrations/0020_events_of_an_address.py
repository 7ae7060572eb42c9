"""An index for the events of an address: a search of staff read all events."""

from django.db import migrations, models

from hitobit_portal.database.online_indexes import AddIndexOnline


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ("accounts", "0019_erasures"),
    ]

    operations = [
        AddIndexOnline(
            "auditevent",
            models.Index(fields=["address", "id"], condition=~models.Q(address=""), name="events_of_an_address"),
        ),
    ]
