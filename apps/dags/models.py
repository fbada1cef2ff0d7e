"""What the DAG files said: DAGs, their versions and source, the files themselves, import errors.

Written by `catalogue.py` (parse results, pause, delete), read by everybody. A DAG row outlives its file: it becomes
stale, never vanishes by itself.
"""

from __future__ import annotations

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.timezone import now

ITSELF = "."
"""Relative path of the row that stands for a bundle as a whole: it carries the problem of a remote that cannot be reached."""


class DagFile(models.Model):
    """One file of a DAG folder and how its last parse went. The row lives as long as the file."""

    bundle_name = models.CharField(max_length=250, default="dags-folder")
    relative_path = models.CharField(max_length=1000)
    path = models.CharField(max_length=2000)
    mtime = models.FloatField(default=0)
    size = models.BigIntegerField(default=0)
    content_hash = models.CharField(max_length=64, default="")
    """SHA-256 of the content last parsed."""
    last_parsed_at = models.DateTimeField(null=True)
    last_duration = models.FloatField(null=True)
    """Seconds the last parse took."""
    reparse_requested_at = models.DateTimeField(null=True)
    """Set by REST (PUT /parseDagFile) and the pages; the processor parses the file first and resets it."""
    seen_at = models.DateTimeField(default=now)
    """Last scan in which the file existed."""
    dag_count = models.IntegerField(default=0)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("bundle_name", "relative_path"), name="one_row_per_file"),)

    def __str__(self) -> str:
        return self.relative_path


class ImportProblem(models.Model):
    """Why (part of) a file did not give DAGs: Airflow's import error. Replaced by every parse of the file."""

    file = models.ForeignKey(DagFile, on_delete=models.CASCADE, related_name="problems")
    at = models.DateTimeField(default=now)
    message = models.TextField()
    """One line: what is wrong, where, what to write instead."""
    lineno = models.IntegerField(null=True)
    stacktrace = models.TextField(default="")
    dag_id = models.CharField(max_length=250, null=True)
    """Set when only this DAG of the file is broken."""

    def __str__(self) -> str:
        return f"{self.file}: {self.message}"


class Dag(models.Model):
    """One DAG: what people set (paused) and what its latest version says, flattened for lists and the scheduler."""

    dag_id = models.CharField(max_length=250, primary_key=True)
    dag_display_name = models.CharField(max_length=2000)
    is_paused = models.BooleanField(default=True)
    is_stale = models.BooleanField(default=False)
    """Its file is gone or no longer contains it."""
    has_import_errors = models.BooleanField(default=False)
    """The last parse of its file failed: the last good version stays, no new runs are created."""
    file = models.ForeignKey(DagFile, on_delete=models.SET_NULL, null=True, related_name="dags")
    bundle_name = models.CharField(max_length=250, default="dags-folder")
    bundle_version = models.CharField(max_length=200, null=True)
    fileloc = models.CharField(max_length=2000)
    relative_fileloc = models.CharField(max_length=2000, default="")
    last_parsed_time = models.DateTimeField(null=True)
    last_parse_duration = models.FloatField(null=True)
    current_version = models.ForeignKey("DagVersion", on_delete=models.SET_NULL, null=True, related_name="+")
    description = models.TextField(null=True)
    owners = ArrayField(models.TextField(), default=list)
    timetable = models.JSONField(default=dict)
    """Serialized timetable (`trackside.core.timetables`)."""
    timetable_summary = models.TextField(null=True)
    timetable_description = models.TextField(null=True)
    timetable_type = models.TextField(default="")
    timezone = models.CharField(max_length=100, default="UTC")
    start_date = models.DateTimeField(null=True)
    end_date = models.DateTimeField(null=True)
    catchup = models.BooleanField(default=False)
    max_active_runs = models.IntegerField(default=16)
    max_active_tasks = models.IntegerField(default=16)
    max_consecutive_failed_dag_runs = models.IntegerField(default=0)
    has_task_concurrency_limits = models.BooleanField(default=False)
    dagrun_timeout = models.FloatField(null=True)
    """Seconds."""
    fail_fast = models.BooleanField(default=False)
    next_logical_date = models.DateTimeField(null=True)
    next_interval_start = models.DateTimeField(null=True)
    next_interval_end = models.DateTimeField(null=True)
    next_run_after = models.DateTimeField(null=True)
    """When the scheduler creates the next scheduled run; null: never by time."""
    next_run_id = models.CharField(max_length=250, null=True)
    """The id the next run gets from a timetable of the user's that names its runs."""
    blocked_reason = models.TextField(null=True)
    """Why no new scheduled run is created although one is due (max_active_runs, import errors …)."""
    created_at = models.DateTimeField(default=now)

    class Meta:
        indexes = (
            # scheduler: which DAGs are due
            models.Index(
                fields=("next_run_after",),
                name="dag_due",
                condition=models.Q(is_paused=False, is_stale=False, next_run_after__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return self.dag_id


class DagTag(models.Model):
    """A tag of a DAG, from its file."""

    dag = models.ForeignKey(Dag, on_delete=models.CASCADE, related_name="tags")
    name = models.CharField(max_length=100)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("dag", "name"), name="tag_once_per_dag"),)

    def __str__(self) -> str:
        return self.name


class DagVersion(models.Model):
    """One structure of a DAG. A new row only when `DagSpec.structure_hash()` changes and the old one has runs."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    dag = models.ForeignKey(Dag, on_delete=models.CASCADE, related_name="versions")
    number = models.IntegerField()
    spec = models.JSONField()
    """`DagSpec.to_dict()`."""
    spec_hash = models.CharField(max_length=64)
    source = models.TextField(default="")
    """Text of the file this version was parsed from."""
    file_hash = models.CharField(max_length=64, default="")
    bundle_name = models.CharField(max_length=250, default="dags-folder")
    bundle_version = models.CharField(max_length=200, null=True)
    created_at = models.DateTimeField(default=now)
    last_updated = models.DateTimeField(default=now)
    files_hash = models.CharField(max_length=64, null=True)
    """The archive (`FilesArchive`) that holds its file just as it was parsed, with those beside it; null: not shipped (yet)."""

    class Meta:
        constraints = (models.UniqueConstraint(fields=("dag", "number"), name="version_numbers_are_unique"),)

    def __str__(self) -> str:
        return f"{self.dag_id} v{self.number}"


class FilesArchive(models.Model):
    """All files of a DAG folder at one moment, for pods (`shipping`)."""

    hash = models.CharField(max_length=64, primary_key=True)
    """SHA-256 of the content."""
    bundle_name = models.CharField(max_length=250)
    content = models.BinaryField()
    """A gzipped tar."""
    created_at = models.DateTimeField(default=now)

    def __str__(self) -> str:
        return f"{self.bundle_name} {self.hash[:12]}"


class DagFavorite(models.Model):
    """A person's favourite DAG."""

    dag = models.ForeignKey(Dag, on_delete=models.CASCADE, related_name="favorites")
    user = models.ForeignKey("access.User", on_delete=models.CASCADE, related_name="favorite_dags")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("dag", "user"), name="favorite_once"),)

    def __str__(self) -> str:
        return f"{self.user_id} ♥ {self.dag_id}"


class PluginReport(models.Model):
    """What a child process said about the plugins of this installation; one row, rewritten when they change."""

    key = models.CharField(max_length=20, primary_key=True, default="plugins")
    fingerprint = models.CharField(max_length=64, default="")
    data = models.JSONField(default=dict)
    """`trackside.sdk.plugins.loading.describe`."""
    at = models.DateTimeField(default=now)

    def __str__(self) -> str:
        return self.key


class DagWarning(models.Model):
    """Something about a DAG that runs but will surprise (unknown pool, values that vary at run time …)."""

    dag = models.ForeignKey(Dag, on_delete=models.CASCADE, related_name="warnings")
    kind = models.CharField(max_length=50)
    message = models.TextField()
    at = models.DateTimeField(default=now)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("dag", "kind"), name="warning_kind_once"),)

    def __str__(self) -> str:
        return f"{self.dag_id}: {self.message}"


from apps.dags.asset_models import Asset, AssetAlias, AssetUse  # noqa: E402, F401  (models of this app, kept in a file of their own)
