"""Indexes for the staff's list of SMS: each filter would read the messages of half a year."""

from django.db import migrations, models

from hitobit_portal.database.online_indexes import AddIndexOnline

INDEXES = [
    models.Index(fields=["backend", "at"], name="sms_of_a_backend"),
    models.Index(fields=["purpose", "at"], name="sms_of_a_purpose"),
    models.Index(fields=["number", "at"], name="sms_to_a_number"),
    models.Index(fields=["at"], name="sms_that_failed", condition=models.Q(succeeded=False)),
]


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ("accounts", "0025_right_to_sms_deliveries"),
    ]

    operations = [AddIndexOnline("smsdelivery", index) for index in INDEXES]
