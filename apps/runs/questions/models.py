"""One row per question a task asked; it stays as history when the task goes on or is cleared."""

from __future__ import annotations

from django.db import models
from django.utils.timezone import now


class HITLDetail(models.Model):
    """A question (Airflow's name for it). Open while `responded_at` is null and its instance awaits input with this try."""

    ti = models.ForeignKey("runs.TaskInstance", on_delete=models.CASCADE, related_name="questions")
    try_id = models.UUIDField(unique=True)
    try_number = models.IntegerField(default=1)
    subject = models.TextField(default="")
    body = models.TextField(null=True)
    options = models.JSONField(default=list)
    defaults = models.JSONField(null=True)
    """Chosen when the time runs out; without them the task then fails."""
    multiple = models.BooleanField(default=False)
    params = models.JSONField(default=dict)
    """Name → {"value", "schema", "description", "source"}: fields of a form."""
    assigned_users = models.JSONField(default=list)
    """[{"id", "name"}, …]: only these may answer; empty: everybody who may edit tasks."""
    created_at = models.DateTimeField(default=now)
    responded_at = models.DateTimeField(null=True)
    responded_by = models.JSONField(null=True)
    """{"id", "name"}; null when the defaults were taken."""
    chosen_options = models.JSONField(null=True)
    params_input = models.JSONField(default=dict)

    class Meta:
        app_label = "runs"

    def __str__(self) -> str:
        return self.subject[:80]
