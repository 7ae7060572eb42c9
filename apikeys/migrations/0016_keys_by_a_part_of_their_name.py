"""An index for staff's search for keys by a part of their name."""

from django.db import migrations

from hitobit_portal.database.online_indexes import AddTrigramIndexOnline


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ("apikeys", "0015_keys_inside_a_network"),
        ("accounts", "0022_customers_by_a_part_of_their_name"),
    ]

    operations = [
        AddTrigramIndexOnline("keys_by_a_part_of_a_name", "apikeys_apikey", "label_folded"),
    ]
