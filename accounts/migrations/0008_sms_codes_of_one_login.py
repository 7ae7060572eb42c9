from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0007_last_runs'),
    ]

    operations = [
        migrations.AddField(
            model_name='smscode',
            name='login',
            field=models.CharField(db_default='', default='', editable=False, max_length=64),
        ),
    ]
