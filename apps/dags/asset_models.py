"""Assets as the DAG files define them: the assets, their aliases, and which DAG or task refers to them.

Written by `assets.py` when a DAG version is stored, and by `apps.runs.assets` when a task names a new asset through an
alias. What happened to assets (events, the queue of consumers) is the ledger's: `apps.runs.assets.models`.
"""

from __future__ import annotations

from django.contrib.postgres.indexes import HashIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import MD5
from django.utils.timezone import now

LONGEST = 1500
"""Characters of a name or URI (Airflow's limit); too many for a B-tree, hence hashes."""


class AssetAlias(models.Model):
    """A name under which tasks say at run time which assets they wrote."""

    name = models.CharField(max_length=LONGEST)
    group = models.CharField(max_length=LONGEST, default="asset")

    class Meta:
        constraints = (models.UniqueConstraint(MD5("name"), name="alias_name_once"),)
        indexes = (HashIndex(fields=("name",), name="alias_by_name"),)  # events through an alias

    def __str__(self) -> str:
        return self.name


class Asset(models.Model):
    """A piece of data, known by name and URI. The row stays when nothing refers to it any more: its events are history."""

    name = models.CharField(max_length=LONGEST)
    uri = models.CharField(max_length=LONGEST)
    group = models.CharField(max_length=LONGEST, default="asset")
    extra = models.JSONField(default=dict)
    watchers = models.JSONField(default=list)
    """[{"name", "classpath", "kwargs"}]: triggers whose events are events of the asset."""
    is_active = models.BooleanField(default=False)
    """Something refers to it, and no other active asset has its name or its URI."""
    created_at = models.DateTimeField(default=now)
    updated_at = models.DateTimeField(default=now)
    aliases = models.ManyToManyField(AssetAlias, related_name="assets")
    """Aliases through which it was written at least once."""

    class Meta:
        constraints = (
            models.UniqueConstraint(MD5("name"), MD5("uri"), name="asset_once"),
            models.UniqueConstraint(MD5("name"), name="active_asset_name_once", condition=Q(is_active=True)),
            models.UniqueConstraint(MD5("uri"), name="active_asset_uri_once", condition=Q(is_active=True)),
        )
        indexes = (
            # finish reports and inlets name assets by either
            HashIndex(fields=("name",), name="asset_by_name"),
            HashIndex(fields=("uri",), name="asset_by_uri"),
        )

    def __str__(self) -> str:
        return self.name


class AssetUse(models.Model):
    """A DAG waits for an asset (schedule), or one of its tasks reads it (inlet) or writes it (outlet).

    Exactly one of `asset`, `alias`, `ref_name`, `ref_uri` is set; the last two are references to assets defined elsewhere.
    """

    SCHEDULE, INLET, OUTLET = "schedule", "inlet", "outlet"

    dag = models.ForeignKey("dags.Dag", on_delete=models.CASCADE, related_name="asset_uses")
    kind = models.CharField(max_length=10)
    task_id = models.CharField(max_length=250, default="")
    """Empty for a schedule."""
    asset = models.ForeignKey(Asset, on_delete=models.CASCADE, null=True, related_name="uses")
    alias = models.ForeignKey(AssetAlias, on_delete=models.CASCADE, null=True, related_name="uses")
    ref_name = models.CharField(max_length=LONGEST, null=True)
    ref_uri = models.CharField(max_length=LONGEST, null=True)
    created_at = models.DateTimeField(default=now)
    updated_at = models.DateTimeField(default=now)

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(kind__in=("schedule", "inlet", "outlet")), name="asset_use_kind_is_known"),
        )
        indexes = (
            # events: who waits for an asset by reference
            HashIndex(fields=("ref_name",), name="asset_use_ref_name", condition=Q(ref_name__isnull=False)),
            HashIndex(fields=("ref_uri",), name="asset_use_ref_uri", condition=Q(ref_uri__isnull=False)),
        )

    def __str__(self) -> str:
        return f"{self.dag_id} {self.kind} {self.asset_id or self.alias_id or self.ref_name or self.ref_uri}"
