"""DAG folders as archives, for pods that share no file system with the server."""

from __future__ import annotations

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("dags", "0003_plugin_report")]

    operations = [
        migrations.CreateModel(
            name="FilesArchive",
            fields=[
                ("hash", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("bundle_name", models.CharField(max_length=250)),
                ("content", models.BinaryField()),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.AddField("dagversion", "files_hash", models.CharField(max_length=64, null=True)),
    ]
