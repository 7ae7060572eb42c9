"""An index for the list of all keys, newest first, page by page."""

from django.db import migrations, models

from hitobit_portal.database.online_indexes import AddIndexOnline


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ("apikeys", "0013_requests_of_the_exchange"),
    ]

    operations = [
        AddIndexOnline("apikey", models.Index(fields=["created_at", "id"], name="keys_by_age")),
    ]
