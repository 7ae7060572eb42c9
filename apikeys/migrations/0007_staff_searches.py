"""Indexes of what staff look for over all keys: an address, a network, a day's refusals."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("apikeys", "0006_notices_before_trading_ends"),
    ]

    operations = [
        migrations.AddIndex("allowednetwork", models.Index(fields=["value"], name="keys_of_a_network")),
        migrations.AddIndex("addressuse", models.Index(fields=["address"], name="keys_used_from")),
        migrations.AddIndex("refusal", models.Index(fields=["address"], name="refusals_of_an_address")),
        migrations.AddIndex(
            "dailyuse",
            models.Index(fields=["day"], condition=~models.Q(outcome="allowed"), name="refused_by_day"),
        ),
    ]
