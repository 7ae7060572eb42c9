"""An index for staff's search for customers by a part of their name."""

from django.db import migrations

from hitobit_portal.database.online_indexes import AddTrigramIndexOnline


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ("accounts", "0021_events_of_a_target"),
    ]

    operations = [
        AddTrigramIndexOnline("customers_by_a_part_of_a_name", "accounts_user", "(upper(name::text))"),
    ]
