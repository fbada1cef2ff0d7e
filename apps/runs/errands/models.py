"""Rows of errands and deadlines. `status` of errands is written by `desk` and `triggered` only."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils.timezone import now

QUEUED, RUNNING, SUCCESS, FAILED = "queued", "running", "success", "failed"


class Errand(models.Model):
    """A piece of user code to run once, by a callback process or (`runs_in="triggerer"`) in the triggerer's child.

    Repeated only if its process died while it ran (`attempts`), so that nothing is lost; then it may be done twice.
    """

    kind = models.CharField(max_length=30)
    """A kind of `trackside.runner.errands.jobs`."""
    runs_in = models.CharField(max_length=20, default="processor")
    dag_id = models.CharField(max_length=250, null=True)
    run = models.ForeignKey("runs.Run", on_delete=models.CASCADE, null=True, related_name="errands")
    ti = models.ForeignKey("runs.TaskInstance", on_delete=models.CASCADE, null=True, related_name="errands")
    try_id = models.UUIDField(null=True)
    """The try whose log gets the output."""
    title = models.CharField(max_length=250, default="")
    """What people read: "on_failure_callback of load"."""
    payload = models.JSONField(default=dict)
    """Facts of the moment it was asked for; the rest is read when it starts."""
    status = models.CharField(max_length=10, default=QUEUED)
    attempts = models.IntegerField(default=0)
    process = models.ForeignKey("runs.Process", on_delete=models.SET_NULL, null=True, related_name="errands")
    created_at = models.DateTimeField(default=now)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    result = models.JSONField(null=True)
    error = models.TextField(null=True)
    output = models.TextField(default="")

    class Meta:
        indexes = (
            # the runner: what waits, and what a dead runner left
            models.Index(fields=("runs_in", "id"), name="errand_open", condition=models.Q(status__in=(QUEUED, RUNNING))),
            # run page
            models.Index(fields=("run", "id"), name="errand_of_run", condition=models.Q(run__isnull=False)),
            # housekeeping
            models.Index(fields=("ended_at",), name="errand_ended", condition=models.Q(ended_at__isnull=False)),
        )

    def __str__(self) -> str:
        return self.title or self.kind


class Deadline(models.Model):
    """By when a run should be done. Made with the run; goes when the run ends in time; `missed` is for good."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    run = models.ForeignKey("runs.Run", on_delete=models.CASCADE, related_name="deadlines")
    alert = models.IntegerField()
    """Position of the DeadlineAlert in the DAG's list."""
    name = models.CharField(max_length=250, null=True)
    reference = models.CharField(max_length=100)
    """reference_type of the alert."""
    interval = models.FloatField()
    """Seconds after the reference."""
    callback = models.JSONField()
    deadline_time = models.DateTimeField()
    missed = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=now)
    last_updated_at = models.DateTimeField(default=now)
    errand = models.ForeignKey(Errand, on_delete=models.SET_NULL, null=True, related_name="+")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("run", "alert"), name="deadline_once"),)
        indexes = (models.Index(fields=("deadline_time",), name="deadline_pending", condition=models.Q(missed=False)),)

    def __str__(self) -> str:
        return self.name or self.reference
