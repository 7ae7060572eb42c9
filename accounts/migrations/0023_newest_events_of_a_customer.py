"""An index for the newest events of a customer, page by page."""

from django.db import migrations, models

from hitobit_portal.database.online_indexes import AddIndexOnline


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ("accounts", "0022_customers_by_a_part_of_their_name"),
    ]

    operations = [
        AddIndexOnline(
            "auditevent", models.Index(fields=["customer", "id"], name="events_of_a_customer_by_id")
        ),
    ]
