"""Rows of the state stores. Written by `store.py` only; values are JSON text."""

from __future__ import annotations

from django.db import models
from django.utils.timezone import now

LONGEST_KEY = 512


class TaskStateEntry(models.Model):
    """A value that a task instance keeps for its next try. Goes with its run, or when it expires."""

    run = models.ForeignKey("runs.Run", on_delete=models.CASCADE, related_name="task_states")
    task_id = models.CharField(max_length=250)
    map_index = models.IntegerField(default=-1)
    key = models.CharField(max_length=LONGEST_KEY)
    value = models.TextField()
    updated_at = models.DateTimeField(default=now)
    expires_at = models.DateTimeField(null=True)
    """Housekeeping deletes it after this moment; null: never."""

    class Meta:
        constraints = (models.UniqueConstraint(fields=("run", "task_id", "map_index", "key"), name="task_state_once"),)
        indexes = (models.Index(fields=("expires_at",), name="task_state_expired", condition=models.Q(expires_at__isnull=False)),)

    def __str__(self) -> str:
        return f"{self.task_id}[{self.map_index}] {self.key}"


class AssetStateEntry(models.Model):
    """A value that belongs to an asset, whoever reads and writes it. Goes when nothing refers to the asset any more."""

    asset = models.ForeignKey("dags.Asset", on_delete=models.CASCADE, related_name="states")
    key = models.CharField(max_length=LONGEST_KEY)
    value = models.TextField()
    updated_at = models.DateTimeField(default=now)
    kind = models.CharField(max_length=10)
    """Who wrote it last: task (then the next four name it), api or watcher."""
    dag_id = models.CharField(max_length=250, null=True)
    run_id = models.CharField(max_length=250, null=True)
    task_id = models.CharField(max_length=250, null=True)
    map_index = models.IntegerField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("asset", "key"), name="asset_state_once"),
            models.CheckConstraint(condition=models.Q(kind__in=("task", "api", "watcher")), name="asset_state_writer_is_known"),
        )

    def __str__(self) -> str:
        return f"{self.asset_id} {self.key}"
