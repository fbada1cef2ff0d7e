"""The backfill's own row; its runs point at it (`Run.backfill_id`, `Run.backfill_order`)."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.timezone import now

REPROCESS = ("none", "failed", "completed")
"""Which existing runs are made again: none of them, failed ones, or those that ended either way."""


class Backfill(models.Model):
    """A wish for the runs of all slots between two dates. Open until none of its runs is queued or running."""

    dag = models.ForeignKey("dags.Dag", on_delete=models.CASCADE, related_name="backfills")
    from_date = models.DateTimeField()
    to_date = models.DateTimeField()
    dag_run_conf = models.JSONField(null=True)
    is_paused = models.BooleanField(default=False)
    """Its queued runs do not begin."""
    reprocess_behavior = models.CharField(max_length=20, default="none")
    max_active_runs = models.IntegerField(default=10)
    run_on_latest_version = models.BooleanField(default=True)
    triggering_user_name = models.CharField(max_length=250, null=True)
    created_at = models.DateTimeField(default=now)
    completed_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(default=now)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("dag",), name="one_open_backfill_per_dag", condition=Q(completed_at__isnull=True)),
            models.CheckConstraint(condition=Q(reprocess_behavior__in=REPROCESS), name="backfill_reprocess_is_known"),
            models.CheckConstraint(condition=Q(max_active_runs__gte=1), name="backfill_max_active_runs_positive"),
        )

    def __str__(self) -> str:
        return f"{self.dag_id} {self.from_date:%Y-%m-%d} to {self.to_date:%Y-%m-%d}"
