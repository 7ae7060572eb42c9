"""An index for the keys whose trusted addresses are inside a network."""

from django.db import migrations, models
from django.db.models.functions import Cast

from hitobit_portal.database.online_indexes import AddIndexOnline


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ("apikeys", "0014_newest_keys_by_an_index"),
    ]

    operations = [
        AddIndexOnline(
            "allowednetwork",
            models.Index(Cast("value", models.GenericIPAddressField()), name="keys_inside_a_network"),
        ),
    ]
