"""Requests that web processes let through, told to each other (`apps.access.rates`)."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('access', '0003_sign_in_and_trail'),
    ]

    operations = [
        migrations.CreateModel(
            name='RateBucket',
            fields=[
                ('key', models.CharField(max_length=60, primary_key=True, serialize=False)),
                ('level', models.FloatField()),
                ('at', models.DateTimeField()),
            ],
        ),
    ]
