"""Filters of lists under a name."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("access", "0007_team_members"),
    ]

    operations = [
        migrations.CreateModel(
            name="SavedView",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("page", models.CharField(max_length=10)),
                ("name", models.CharField(max_length=100)),
                ("filters", models.JSONField(default=dict)),
                ("shared", models.BooleanField(default=False)),
                (
                    "owner",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="saved_views", to=settings.AUTH_USER_MODEL),
                ),
            ],
            options={
                "ordering": ("shared", "name", "pk"),
                "constraints": [
                    models.UniqueConstraint(fields=("owner", "page", "name"), name="saved_view_once"),
                ],
            },
        ),
    ]
