"""Asset events and what they start. Definitions of assets are the catalogue's (`apps.dags.asset_models`)."""

from __future__ import annotations

from django.db import models
from django.utils.timezone import now


class AssetEvent(models.Model):
    """An asset has news. Written in the transaction in which its task succeeded, or by REST."""

    asset = models.ForeignKey("dags.Asset", on_delete=models.CASCADE, related_name="events")
    timestamp = models.DateTimeField(default=now)
    extra = models.JSONField(default=dict)
    source_dag_id = models.CharField(max_length=250, null=True)
    source_task_id = models.CharField(max_length=250, null=True)
    source_run_id = models.CharField(max_length=250, null=True)
    source_map_index = models.IntegerField(default=-1)
    partition_key = models.CharField(max_length=250, null=True)
    """Events with a key start runs of partitioned consumers only."""
    source_aliases = models.ManyToManyField("dags.AssetAlias", related_name="events")
    runs = models.ManyToManyField("runs.Run", related_name="consumed_asset_events")
    """Runs that it started or helped to start."""

    class Meta:
        indexes = (
            # inlet events, events since the last run of a consumer, the newest of an asset
            models.Index(fields=("asset", "timestamp", "id"), name="asset_event_of_asset"),
            # lists
            models.Index(fields=("timestamp", "id"), name="asset_event_newest"),
            models.Index(fields=("source_dag_id", "source_run_id"), name="asset_event_of_run"),
        )

    def __str__(self) -> str:
        return f"{self.asset_id} at {self.timestamp}"


class QueuedAsset(models.Model):
    """A consumer has not used the news of this asset yet. One row however many events there were; gone once a run is made."""

    asset = models.ForeignKey("dags.Asset", on_delete=models.CASCADE, related_name="queued")
    dag = models.ForeignKey("dags.Dag", on_delete=models.CASCADE, related_name="queued_assets")
    created_at = models.DateTimeField(default=now)
    """Time of the first event in wait."""
    updated_at = models.DateTimeField(default=now)
    """Time of the newest one."""

    class Meta:
        constraints = (models.UniqueConstraint(fields=("asset", "dag"), name="queued_asset_once"),)

    def __str__(self) -> str:
        return f"{self.asset_id} for {self.dag_id}"
