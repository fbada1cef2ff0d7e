"""What executors note of the tries they bring under way."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("runs", "0006_undo")]

    operations = [
        migrations.AddField("try", "round", models.IntegerField(default=1, db_default=1)),
        migrations.AddField("try", "submitted_at", models.DateTimeField(null=True)),
        migrations.AddField("try", "submissions", models.IntegerField(default=0, db_default=0)),
        migrations.AddField("try", "facts", models.JSONField(null=True)),
    ]
