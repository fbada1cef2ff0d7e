"""People have roles on what a team owns."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("access", "0006_teams"),
    ]

    operations = [
        migrations.CreateModel(
            name="TeamMember",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "role",
                    models.CharField(choices=[("Viewer", "Viewer"), ("User", "User"), ("Op", "Op")], default="Viewer", max_length=10),
                ),
                (
                    "team",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="members", to="access.team"),
                ),
                (
                    "user",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="memberships", to=settings.AUTH_USER_MODEL),
                ),
            ],
            options={
                "ordering": ("user__username",),
                "constraints": [
                    models.UniqueConstraint(fields=("team", "user"), name="team_member_once"),
                    models.CheckConstraint(condition=models.Q(("role__in", ("Viewer", "User", "Op"))), name="team_member_role_known"),
                ],
            },
        ),
    ]
