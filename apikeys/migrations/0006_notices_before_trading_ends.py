from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("apikeys", "0005_the_gateway"),
    ]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="trade_told_days",
            field=models.PositiveSmallIntegerField(editable=False, null=True),
        ),
    ]
