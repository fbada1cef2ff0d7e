"""Asset events and what they start. Definitions of assets are the catalogue's (`apps.dags.asset_models`)."""

from __future__ import annotations

from django.db import models
from django.utils.timezone import now

from apps.access.fields import EncryptedTextField


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


class PendingPartition(models.Model):
    """A run to be of a partitioned consumer: it waits for events of its key. Kept, with its run, once the run is made."""

    dag = models.ForeignKey("dags.Dag", on_delete=models.CASCADE, related_name="pending_partitions")
    partition_key = models.CharField(max_length=250)
    partition_date = models.DateTimeField(null=True)
    """Carried from the upstream run where the key itself says none; null when upstream runs disagree."""
    fingerprint = models.CharField(max_length=64)
    """Of the consumer's mappers when it was made (`core.partitions.Mapping`): with other mappers it is void."""
    awaits = models.JSONField(default=dict)
    """Of rollups by mappers of the user's, as a child said: asset id → {"keys": upstream keys, "least": how many of them are enough}."""
    run = models.ForeignKey("runs.Run", on_delete=models.CASCADE, null=True, related_name="partitions")
    has_news = models.BooleanField(default=True)
    """To be judged by the next tick."""
    created_at = models.DateTimeField(default=now)
    updated_at = models.DateTimeField(default=now)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("dag", "partition_key"), name="pending_partition_once", condition=models.Q(run__isnull=True)),
        )
        indexes = (
            # the tick: what is to be judged, oldest first
            models.Index(fields=("id",), name="pending_partition_news", condition=models.Q(run__isnull=True, has_news=True)),
        )

    def __str__(self) -> str:
        return f"{self.dag_id} {self.partition_key}"


class PartitionNews(models.Model):
    """An event that a pending partition is about."""

    pending = models.ForeignKey(PendingPartition, on_delete=models.CASCADE, related_name="news")
    event = models.ForeignKey(AssetEvent, on_delete=models.CASCADE, related_name="partitions")
    asset = models.ForeignKey("dags.Asset", on_delete=models.CASCADE, related_name="+")
    source_key = models.CharField(max_length=250)
    """The event's own key."""

    def __str__(self) -> str:
        return f"{self.source_key} for {self.pending_id}"


class Watcher(models.Model):
    """A trigger that goes on for ever: each of its events is an event of the assets that name it. See `watchers.py`."""

    key = models.CharField(max_length=64, unique=True)
    """Hash of class path and arguments: the same trigger of several assets waits once."""
    classpath = models.CharField(max_length=1000)
    kwargs = EncryptedTextField(default="{}")
    triggerer = models.ForeignKey("runs.Process", on_delete=models.SET_NULL, null=True, related_name="watchers")
    """The process whose child waits; once its lease has run out anybody may take over."""
    claimed_at = models.DateTimeField(null=True)
    error = models.TextField(null=True)
    """Why it failed the last time; null once it has found something again."""
    failed_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.classpath


class WatchedAsset(models.Model):
    """An asset names a watcher."""

    watcher = models.ForeignKey(Watcher, on_delete=models.CASCADE, related_name="watched")
    asset = models.ForeignKey("dags.Asset", on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=1500)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("watcher", "asset"), name="watched_asset_once"),)

    def __str__(self) -> str:
        return self.name
