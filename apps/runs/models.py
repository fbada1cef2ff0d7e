"""Runs, task instances, tries and what hangs on them.

`state` columns are written by `transitions.py` alone. A task instance is (run, task, map index); each of its tries is a
row of its own with its own UUID, token, worker, exit reason and log. Next door: `snapshots.py` reads these rows for the
planner, `claims.py` holds every SKIP LOCKED.
"""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q
from django.utils.timezone import now

from apps.access.fields import EncryptedTextField
from trackside.core.states import RUN_FINISHED, RunState, TaskState, TryState

_OPEN_RUN = ("queued", "running")


class Run(models.Model):
    """One run of a DAG."""

    dag = models.ForeignKey("dags.Dag", on_delete=models.CASCADE, related_name="runs")
    run_id = models.CharField(max_length=250)
    run_type = models.CharField(max_length=50)
    state = models.CharField(max_length=20, default=RunState.QUEUED)
    logical_date = models.DateTimeField(null=True)
    data_interval_start = models.DateTimeField(null=True)
    data_interval_end = models.DateTimeField(null=True)
    run_after = models.DateTimeField(default=now)
    queued_at = models.DateTimeField(null=True)
    start_date = models.DateTimeField(null=True)
    end_date = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(default=now)
    last_scheduling_decision = models.DateTimeField(null=True)
    conf = models.JSONField(default=dict)
    note = models.TextField(null=True)
    note_user = models.CharField(max_length=150, null=True)
    triggered_by = models.CharField(max_length=20, default="timetable")
    triggering_user_name = models.CharField(max_length=250, null=True)
    dag_version = models.ForeignKey("dags.DagVersion", on_delete=models.SET_NULL, null=True, related_name="runs")
    bundle_version = models.CharField(max_length=200, null=True)
    clear_number = models.IntegerField(default=0)
    partition_key = models.CharField(max_length=250, null=True)
    partition_date = models.DateTimeField(null=True)
    backfill_id = models.BigIntegerField(null=True)
    backfill_order = models.IntegerField(null=True)
    expanded = models.BooleanField(default=False)
    """Its task instances exist."""
    advance_at = models.DateTimeField(null=True)
    """When the planner must look at it next: now after every change, a due time while it waits, null when nothing can
    happen without an event. The scheduler takes what is due; see `brain.advance`."""
    marked = models.CharField(max_length=20, null=True)
    """What a person set it to while teardowns were still to run: its state once they have ended."""
    troubles = models.IntegerField(default=0)
    """Consecutive exceptions while advancing it; pushes `advance_at` away with back-off."""
    reason_code = models.CharField(max_length=40, null=True)
    reason = models.TextField(null=True)
    """One sentence: why it is not moving, what unblocks it. Null when it moves or ended well."""
    reason_since = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("dag", "run_id"), name="run_id_once_per_dag"),
            models.UniqueConstraint(fields=("dag", "logical_date"), name="logical_date_once_per_dag"),
            models.CheckConstraint(condition=Q(state__in=[str(s) for s in RunState]), name="run_state_is_known"),
            models.CheckConstraint(
                condition=~Q(state__in=sorted(str(s) for s in RUN_FINISHED)) | Q(end_date__isnull=False),
                name="finished_run_has_end",
            ),
        )
        indexes = (
            # scheduler: which open runs are due
            models.Index(fields=("advance_at",), name="run_due", condition=Q(state__in=_OPEN_RUN)),
            # scheduler: open runs of a DAG (max_active_runs)
            models.Index(fields=("dag", "state"), name="run_open", condition=Q(state__in=_OPEN_RUN)),
            # lists: newest runs of a DAG, of all DAGs
            models.Index(fields=("dag", "-run_after", "-id"), name="run_newest_of_dag"),
            models.Index(fields=("-run_after", "-id"), name="run_newest"),
        )

    def __str__(self) -> str:
        return f"{self.dag_id} {self.run_id}"


class TaskInstance(models.Model):
    """One task (one map index of it) in one run."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="task_instances")
    dag_id = models.CharField(max_length=250)
    task_id = models.CharField(max_length=250)
    map_index = models.IntegerField(default=-1)
    state = models.CharField(max_length=20, default=TaskState.NONE)
    try_id = models.UUIDField(default=uuid.uuid4)
    """UUID of the current (or next) try; replaced by retry and clear. REST shows it as the task instance's id."""
    try_number = models.IntegerField(default=0)
    """Number of the current try, 0 before the first is scheduled."""
    max_tries = models.IntegerField(default=0)
    """A retry is allowed while try_number <= max_tries (Airflow's meaning)."""
    infra_failures = models.IntegerField(default=0)
    """Tries lost to machinery since the last clear: a budget of their own."""
    queued_at = models.DateTimeField(null=True)
    scheduled_at = models.DateTimeField(null=True)
    start_date = models.DateTimeField(null=True)
    end_date = models.DateTimeField(null=True)
    duration = models.FloatField(null=True)
    updated_at = models.DateTimeField(default=now)
    operator = models.CharField(max_length=1000, default="")
    task_display_name = models.CharField(max_length=2000, default="")
    pool = models.CharField(max_length=256, default="default_pool")
    pool_slots = models.IntegerField(default=1)
    queue = models.CharField(max_length=256, default="default")
    priority_weight = models.IntegerField(default=1)
    """Effective weight (after the weight rule)."""
    executor = models.CharField(max_length=200, null=True)
    hostname = models.CharField(max_length=1000, default="")
    unixname = models.CharField(max_length=1000, default="")
    pid = models.IntegerField(null=True)
    dag_version = models.ForeignKey("dags.DagVersion", on_delete=models.SET_NULL, null=True, related_name="+")
    note = models.TextField(null=True)
    note_user = models.CharField(max_length=150, null=True)
    rendered_map_index = models.CharField(max_length=250, null=True)
    next_at = models.DateTimeField(null=True)
    """up_for_retry, up_for_reschedule: when it may go on; deferred, awaiting_input: when it times out."""
    reschedules = models.IntegerField(default=0)
    next_method = models.CharField(max_length=1000, null=True)
    next_kwargs = models.JSONField(null=True)
    trigger_id = models.BigIntegerField(null=True)
    rendered_fields = models.JSONField(null=True)
    reason_code = models.CharField(max_length=40, null=True)
    reason = models.TextField(null=True)
    """One sentence: why it is not moving or how it ended, what unblocks it."""
    reason_since = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("run", "task_id", "map_index"), name="task_instance_once"),
            models.UniqueConstraint(fields=("try_id",), name="task_instance_try_id"),
            models.CheckConstraint(condition=Q(state__in=[str(s) for s in TaskState]), name="task_state_is_known"),
            models.CheckConstraint(condition=Q(pool_slots__gte=1), name="pool_slots_positive"),
        )
        indexes = (
            # admission: what waits for a place, best first
            models.Index(fields=("-priority_weight", "id"), name="ti_scheduled", condition=Q(state="scheduled")),
            # admission: what holds slots
            models.Index(
                fields=("pool", "dag_id", "task_id"),
                name="ti_occupying",
                condition=Q(state__in=("queued", "running", "restarting", "deferred", "awaiting_input")),
            ),
            # scheduler: deferrals and questions whose time has run out
            models.Index(fields=("next_at",), name="ti_timeout", condition=Q(state__in=("deferred", "awaiting_input"))),
            # home: what failed in these runs, however large they are
            models.Index(fields=("run",), name="ti_failed", condition=Q(state="failed")),
            # depends_on_past, state of a task over runs
            models.Index(fields=("dag_id", "task_id", "run"), name="ti_of_task"),
        )

    def __str__(self) -> str:
        index = f"[{self.map_index}]" if self.map_index >= 0 else ""
        return f"{self.dag_id}.{self.task_id}{index}"


class Try(models.Model):
    """One try: created by admission, claimed once, ended once. Its id equals TaskInstance.try_id while current."""

    id = models.UUIDField(primary_key=True)
    ti = models.ForeignKey(TaskInstance, on_delete=models.CASCADE, related_name="tries")
    number = models.IntegerField()
    state = models.CharField(max_length=20, default=TryState.QUEUED)
    token_hash = models.CharField(max_length=64, null=True)
    """SHA-256 of the try token's secret; replaced at every hand-out."""
    executor = models.CharField(max_length=200, default="local")
    queue = models.CharField(max_length=256, default="default")
    round = models.IntegerField(default=1, db_default=1)
    """How often it was queued: a deferred or rescheduled try goes on under its UUID."""
    submitted_at = models.DateTimeField(null=True)
    """When its executor last sent it on its way; null until then, and again when it is queued anew."""
    submissions = models.IntegerField(default=0, db_default=0)
    reuse_key = models.CharField(max_length=64, default="", db_default="")
    """Which warm pods may take it, if any; set by its submission, void when it is queued anew."""
    place = models.CharField(max_length=253, default="", db_default="")
    """The warm pod it was handed to."""
    facts = models.JSONField(null=True)
    """What its executor knows of where it runs: pod, node, image, events …; no secrets."""
    worker = models.ForeignKey("Process", on_delete=models.SET_NULL, null=True, related_name="tries")
    worker_epoch = models.IntegerField(default=0)
    hostname = models.CharField(max_length=1000, default="")
    pid = models.IntegerField(null=True)
    queued_at = models.DateTimeField(default=now)
    start_date = models.DateTimeField(null=True)
    end_date = models.DateTimeField(null=True)
    duration = models.FloatField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    final_state = models.CharField(max_length=20, null=True)
    """Task state this try ended in, as people see it in the list of tries."""
    kill_confirmed = models.BooleanField(default=True)
    """False for a fenced try until its runner confirmed that the processes are gone."""
    exit_code = models.IntegerField(null=True)
    signal = models.IntegerField(null=True)
    error = models.TextField(null=True)
    """One line a person can act on."""
    retry_reason = models.TextField(null=True)
    dag_version = models.ForeignKey("dags.DagVersion", on_delete=models.SET_NULL, null=True, related_name="+")
    snapshot = models.JSONField(default=dict)
    """What the task instance said at the end of this try (pool, queue, note, rendered fields …), for the list of tries."""
    log_size = models.BigIntegerField(default=0)
    log_ended = models.BooleanField(default=False)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("ti", "number"), name="try_number_once"),
            models.CheckConstraint(condition=Q(state__in=[str(s) for s in TryState]), name="try_state_is_known"),
        )
        indexes = (
            # claim: what a worker may take
            models.Index(fields=("queue", "queued_at"), name="try_queued", condition=Q(state="queued")),
            # exchange and reaper: what a worker holds
            models.Index(fields=("worker",), name="try_held", condition=Q(state="running") | Q(kill_confirmed=False)),
            # warm pods: what waits for one of a key, and what one has
            models.Index(
                fields=("reuse_key", "place"),
                name="try_reuse",
                condition=Q(reuse_key__gt="") & (Q(state__in=("queued", "running")) | Q(kill_confirmed=False)),
            ),
        )

    def __str__(self) -> str:
        return f"{self.ti_id} try {self.number}"


class Trigger(models.Model):
    """What a deferred task instance waits for; it lives from the deferral until it fired or is not wanted any more.

    Written with the deferral (`triggerer.rows`). Dead as soon as its instance is not deferred with the same try.
    """

    ti = models.OneToOneField(TaskInstance, on_delete=models.CASCADE, related_name="waits_for")
    try_id = models.UUIDField()
    classpath = models.CharField(max_length=1000)
    kwargs = EncryptedTextField(default="{}")
    """Arguments as JSON text with typed envelopes; encrypted, because they may hold secrets. Opaque to the server."""
    queue = models.CharField(max_length=256, null=True)
    created_at = models.DateTimeField(default=now)
    triggerer = models.ForeignKey("Process", on_delete=models.SET_NULL, null=True, related_name="triggers")
    """The process whose child waits; once its lease has run out anybody may take over."""
    claimed_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.classpath} of {self.ti_id}"


class XCom(models.Model):
    """A value one task left for others. `value` is JSON text with typed envelopes, opaque to the server."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="xcoms")
    dag_id = models.CharField(max_length=250)
    task_id = models.CharField(max_length=250)
    map_index = models.IntegerField(default=-1)
    key = models.CharField(max_length=512)
    value = models.TextField()
    shown = models.TextField(null=True)
    """The value as people may see it, if whoever wrote it knew of secrets in it."""
    length = models.IntegerField(null=True)
    """Number of items when a mapped task consumes it."""
    timestamp = models.DateTimeField(default=now)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("run", "task_id", "map_index", "key"), name="xcom_once"),)

    def __str__(self) -> str:
        return f"{self.dag_id}.{self.task_id} {self.key}"


class Pool(models.Model):
    """A limit on slots shared by tasks of all DAGs. -1 slots: no limit."""

    name = models.CharField(max_length=256, unique=True)
    slots = models.IntegerField(default=0)
    description = models.TextField(null=True, blank=True)
    include_deferred = models.BooleanField(default=False)
    team_name = models.CharField(max_length=50, null=True, blank=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Undo(models.Model):
    """What the rows of some runs (or the switch of some DAGs) said before a person's action; see `actions.undo`.

    Kept for an hour: ten minutes for undoing, the rest so that a late click hears why not.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    at = models.DateTimeField(default=now)
    actor = models.CharField(max_length=250)
    what = models.CharField(max_length=250)
    """The action in words."""
    dag_id = models.CharField(max_length=250, null=True)
    """Whose rights count; null when several DAGs were switched."""
    dag_ids = models.JSONField(default=list)
    paused = models.BooleanField(null=True)
    """What the DAGs were switched to; null for actions on runs."""
    audit_id = models.BigIntegerField(default=0)
    """Newest entry of the audit trail when the action was done: later ones are other people's."""
    runs = models.JSONField(default=list)
    instances = models.JSONField(default=list)
    done_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.what


class Process(models.Model):
    """A living part of Trackside (scheduler, dag_processor, web, worker, triggerer) with a lease it renews."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    kind = models.CharField(max_length=30)
    name = models.CharField(max_length=250, default="")
    hostname = models.CharField(max_length=1000, default="")
    pid = models.IntegerField(default=0)
    version = models.CharField(max_length=50, default="")
    started_at = models.DateTimeField(default=now)
    heartbeat_at = models.DateTimeField(default=now)
    lease_until = models.DateTimeField(default=now)
    """After this moment (database clock) it counts as dead; whatever it held is taken over."""
    ended_at = models.DateTimeField(null=True)
    epoch = models.IntegerField(default=0)
    slots = models.IntegerField(default=0)
    queues = models.JSONField(default=list)
    info = models.JSONField(default=dict)
    """Counters and the last loop's duration, for the health page."""

    class Meta:
        indexes = (models.Index(fields=("kind", "lease_until"), name="process_alive", condition=Q(ended_at__isnull=True)),)

    def __str__(self) -> str:
        return f"{self.kind} {self.name or self.hostname}"


class Event(models.Model):
    """One change worth showing, written in the transaction that made it; the live hub and the trails read it.

    Read with a cursor (xid, id) bounded by pg_snapshot_xmin(pg_current_snapshot()): ids alone lose events.
    `xid` is a database default (see migration), xid8.
    """

    at = models.DateTimeField(default=now)
    kind = models.CharField(max_length=20)
    """run, task, dag, log, process, pool, import_error."""
    verb = models.CharField(max_length=30)
    dag_id = models.CharField(max_length=250, null=True)
    run_pk = models.BigIntegerField(null=True)
    run_id = models.CharField(max_length=250, null=True)
    payload = models.JSONField(default=dict)
    """task: {"state": new state, "tis": [[ti pk, task_id, map_index, try_number], …]}; run: {"state": …}; others: see writers."""

    class Meta:
        indexes = (models.Index(fields=("run_pk", "id"), name="event_of_run"),)  # events trail of a run

    def __str__(self) -> str:
        return f"{self.kind} {self.verb}"


from apps.runs.assets.models import (  # noqa: E402, F401  (models of this app, kept with what they are for)
    AssetEvent,
    PartitionNews,
    PendingPartition,
    QueuedAsset,
    WatchedAsset,
    Watcher,
)
from apps.runs.backfills.models import Backfill  # noqa: E402, F401
from apps.runs.errands.models import Deadline, Errand  # noqa: E402, F401
from apps.runs.metrics.models import Tally, TallyCursor  # noqa: E402, F401
from apps.runs.questions.models import HITLDetail  # noqa: E402, F401
from apps.runs.stores.models import AssetStateEntry, TaskStateEntry  # noqa: E402, F401
