"""Pending partitions know what rollups by mappers of the user's wait for."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("runs", "0012_tallies")]

    operations = [
        migrations.AddField(model_name="pendingpartition", name="awaits", field=models.JSONField(default=dict)),
    ]
