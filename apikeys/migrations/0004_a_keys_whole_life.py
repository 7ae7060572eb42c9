"""Usage, refusals, rescue, rotation. SQLite makes a table anew to add a column, and with it its triggers."""

from datetime import timedelta
from importlib import import_module

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models
from django.utils import timezone

rules = import_module("apikeys.migrations.0002_rules_in_the_database")


def limit_trading(apps, schema_editor):
    """Keys that trade from anywhere since before there was a limit: it begins now."""
    keys = apps.get_model("apikeys", "ApiKey").objects
    keys.filter(can_trade=True, ip_policy="unrestricted", trade_until=None).exclude(state="revoked").update(
        trade_until=timezone.now() + timedelta(days=90)
    )


class Migration(migrations.Migration):

    dependencies = [
        ('apikeys', '0003_notices_before_a_key_expires'),
    ]

    operations = [
        migrations.RunPython(rules.drop, rules.create),
        migrations.AddField(
            model_name='apikey',
            name='allows_rescue',
            field=models.BooleanField(default=True, verbose_name='ask me about new addresses'),
        ),
        migrations.AddField(
            model_name='apikey',
            name='skew_ms',
            field=models.IntegerField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='apikey',
            name='trade_until',
            field=models.DateTimeField(blank=True, editable=False, null=True, verbose_name='may trade until'),
        ),
        migrations.AddField(
            model_name='credential',
            name='grace_seconds',
            field=models.PositiveIntegerField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='credential',
            name='last_used_at',
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.CreateModel(
            name='Refusal',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(default=django.utils.timezone.now)),
                ('outcome', models.CharField(max_length=24)),
                ('address', models.CharField(blank=True, max_length=45)),
                ('permission', models.CharField(blank=True, max_length=8)),
                ('skew_ms', models.BigIntegerField(null=True)),
                ('key', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='refusals', to='apikeys.apikey')),
            ],
            options={
                'ordering': ['-pk'],
            },
        ),
        migrations.CreateModel(
            name='RescueRequest',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('address', models.CharField(max_length=45)),
                ('asked_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('closed_at', models.DateTimeField(null=True)),
                ('approved', models.BooleanField(default=False)),
                ('key', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='rescues', to='apikeys.apikey')),
            ],
            options={
                'ordering': ['-pk'],
            },
        ),
        migrations.CreateModel(
            name='AddressUse',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('address', models.CharField(max_length=45)),
                ('last_at', models.DateTimeField()),
                ('count', models.PositiveBigIntegerField(default=0)),
                ('key', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='addresses', to='apikeys.apikey')),
            ],
            options={
                'ordering': ['-last_at'],
                'constraints': [models.UniqueConstraint(fields=('key', 'address'), name='one_row_an_address')],
            },
        ),
        migrations.CreateModel(
            name='DailyUse',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('day', models.DateField()),
                ('outcome', models.CharField(max_length=24)),
                ('permission', models.CharField(blank=True, max_length=8)),
                ('count', models.PositiveBigIntegerField(default=0)),
                ('key', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='daily_use', to='apikeys.apikey')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('key', 'day', 'outcome', 'permission'), name='one_count_a_day_and_outcome')],
            },
        ),
        migrations.RunPython(rules.create, rules.drop),
        migrations.RunPython(limit_trading, migrations.RunPython.noop),
    ]
