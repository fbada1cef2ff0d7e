"""What travels between the server and whoever runs tries: one JSON shape per message, versioned.

Server side: `apps/runs/execution/`. Worker side: `trackside.runner` (agent, fork server, task process). All bodies are
JSON; moments are ISO 8601 UTC; values of user code (XComs, next_kwargs) are JSON with the typed envelope of
`trackside.sdk.serde` and are opaque to the server.

Doors (all below `/execution`, `Authorization: Bearer …`):

* worker token (`worker.<secret>`): `POST /exchange`, `POST /logs`, `POST /goodbye`
* start token (single use, pods and Celery messages): `POST /tries/{try_id}/start` → StartOrder with the try token
* try token (`<try_id>.<secret>`), valid only while that try runs:
  `POST /tries/{try_id}/heartbeat` · `POST /tries/{try_id}/update` (TryUpdate) · `POST /tries/{try_id}/finish` (FinishReport) ·
  `POST /tries/{try_id}/logs` (LogChunk) · `POST /tries/{try_id}/files` → {"hash", "content"}: gzipped tar in base64, 404 not there yet ·
  `GET /connections/{conn_id}` · `GET|PUT|DELETE /variables/{key}` · `GET /variables?prefix=` ·
  `GET /xcoms?dag_id=&run_id=&task_id=&key=&map_index=&include_prior_dates=` → {"xcoms": [XComRecord…]} ordered by task, map index ·
  `POST /xcoms` (XComRecord without dag_id/run_id/task_id: own try only) · `DELETE /xcoms/{key}` ·
  `GET /runs/previous?dag_id=&logical_date=&state=` → {"run": RunRecord|null} ·
  `GET /runs/count?dag_id=&states=&logical_dates=&run_ids=` → {"count"} · `GET /runs/state?dag_id=&run_id=` → {"state"} ·
  `GET /task-instances/count|states?dag_id=&task_ids=&task_group_id=&logical_dates=&run_ids=&states=&map_index=` ·
  `GET /asset-events?name=&uri=&alias=&after=&before=&ascending=&limit=` → {"asset_events"} ·
  `POST /runs` {"dag_id", "run_id", "logical_date", "conf", "reset"} (trigger) · `GET /dags/{dag_id}`

Answers: 200 with JSON; 401 no or unknown token; 404 {"detail"} thing not there; 409 {"detail"} the try is not running
(not started, ended); 410 {"detail"} the try was superseded: whoever runs it kills it at once and changes nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, Self

WIRE_VERSION = 1
NOT_STARTED = "trackside: not started: "
"""What the last words of a runner begin with whose try the server did not let it start."""


@cache
def _names(cls: type) -> dict[str, None]:
    return dict.fromkeys(f.name for f in fields(cls))  # type: ignore[arg-type]


class _Message:
    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Build from the wire; unknown keys are ignored (newer peer), missing ones take their default."""
        known = _names(cls)  # type: ignore[arg-type]  # mypy takes classes for unhashable
        return cls(**{k: v for k, v in data.items() if k in known})

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dict; what the fields hold is not copied."""
        return {name: getattr(self, name) for name in _names(type(self))}  # type: ignore[arg-type]


@dataclass(slots=True)
class XComRecord(_Message):
    """One XCom. `value` is any JSON (enveloped by the SDK). `length` is set when a mapped task consumes it.

    `shown`: the value as people may see it, if its writer knew of secrets in it.
    """

    key: str
    value: Any = None
    map_index: int = -1
    task_id: str | None = None
    run_id: str | None = None
    dag_id: str | None = None
    length: int | None = None
    shown: Any = None


@dataclass(slots=True)
class RunRecord(_Message):
    """The run a task belongs to, as the task's context shows it."""

    dag_id: str
    run_id: str
    run_type: str = "manual"
    state: str = "running"
    logical_date: str | None = None
    data_interval_start: str | None = None
    data_interval_end: str | None = None
    run_after: str | None = None
    queued_at: str | None = None
    start_date: str | None = None
    end_date: str | None = None
    clear_number: int = 0
    conf: dict[str, Any] = field(default_factory=dict)
    note: str | None = None
    triggered_by: str | None = None
    triggering_user_name: str | None = None
    partition_key: str | None = None
    partition_date: str | None = None
    consumed_asset_events: list[dict[str, Any]] = field(default_factory=list)
    team_name: str | None = None
    """Of the DAG; told with start orders only."""


@dataclass(slots=True)
class StartOrder(_Message):
    """Run this try now. Everything the task process needs to begin without asking again."""

    try_id: str
    token: str
    """Try token; to the task process by pipe only: never argv, environment or log."""
    dag_id: str
    task_id: str
    run: dict[str, Any]
    """RunRecord."""
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    """Airflow's meaning: retries are allowed while try_number <= max_tries."""
    dag_file: str = ""
    """Absolute path of the DAG file as the server knows it."""
    relative_fileloc: str = ""
    bundle_name: str = "dags-folder"
    bundle_version: str | None = None
    """The version of the bundle whose files the try runs (a commit); None: the bundle has none, the newest count."""
    bundle: dict[str, Any] | None = None
    """How to get the files of a remote bundle (`trackside.runner.bundles.BundleConfig.to_wire`); None: a folder."""
    version_fileloc: str = ""
    """Where the file lay when the DAG's structure was as in this run, if that may be another place than `relative_fileloc`."""
    dag_version_id: str | None = None
    dag_version_number: int = 1
    files_hash: str = ""
    """SHA-256 of the archive with the DAG's files, for runners without a share (`POST /tries/{try_id}/files`)."""
    file_hash: str = ""
    """SHA-256 of the file the version was parsed from: the fork server's cache key."""
    ti_start_date: str | None = None
    """First start of this try (kept over reschedules and deferrals)."""
    queued_at: str | None = None
    pool: str = "default_pool"
    queue: str = "default"
    priority_weight: int = 1
    hostname: str = ""
    operator: str = ""
    reschedule_count: int = 0
    next_method: str | None = None
    """Set when the try resumes from a deferral: method to call instead of execute."""
    next_kwargs: dict[str, Any] | None = None
    """Enveloped JSON; contains "event" of the trigger."""
    xcoms: list[dict[str, Any]] = field(default_factory=list)
    """XComRecords (return_value) of direct upstream tasks of this run, prefetched."""
    xcoms_complete: bool = True
    """False: too large to prefetch; what is not in `xcoms` must be asked for."""
    expanded_ti_count: int | None = None
    inactive_assets: list[str] = field(default_factory=list)
    """Inlets and outlets that lost their name or URI to another asset: the task fails before it begins."""
    upstream_map_indexes: dict[str, Any] = field(default_factory=dict)
    heartbeat_s: float = 5.0
    self_fence_s: float = 20.0
    """No accepted heartbeat for this long: the runner kills the task by itself."""
    kill_grace_s: float = 5.0
    """SIGTERM first, SIGKILL after this long."""


@dataclass(slots=True)
class TryUpdate(_Message):
    """Facts about a running try worth showing before it ends."""

    try_id: str
    token: str = ""
    pid: int | None = None
    rendered_fields: dict[str, Any] | None = None
    rendered_map_index: str | None = None


OUTCOMES = ("success", "failed", "failed_no_retry", "skipped", "rescheduled", "deferred", "awaiting_input", "lost", "killed")
"""How a try can end. failed_no_retry: the user asked for no retry (AirflowFailException …). lost: the runner lost the
process through no fault of the task (fork server died): does not use the user's retries. killed: confirmed dead after a
kill order; changes nothing but confirms the end of a fenced try."""


@dataclass(slots=True)
class FinishReport(_Message):
    """A try ended. Idempotent: repeated until a 2xx or a 409/410 answers it."""

    try_id: str
    token: str = ""
    outcome: str = "success"
    xcoms: list[dict[str, Any]] = field(default_factory=list)
    """XComRecords that the end of the task pushed (return_value, multiple outputs); earlier pushes went to POST /xcoms."""
    skip: dict[str, Any] | None = None
    """Decision of a branch or short circuit: {"mode": "followed", "ids": [task ids to follow]} or
    {"mode": "skipped", "ids": [task ids to skip]} (direct downstream ids, or all descendants for a short circuit)."""
    asset_events: list[dict[str, Any]] = field(default_factory=list)
    reschedule_at: str | None = None
    deferral: dict[str, Any] | None = None
    """{"classpath", "kwargs", "next_method", "next_kwargs", "timeout_s"|None, "queue"|None}."""
    retry_delay_s: float | None = None
    """Overrides the task's retry_delay (retry policies)."""
    retry_reason: str | None = None
    """What the task's retry policy said, at most 500 characters."""
    error: str | None = None
    """One line a person can act on: exception class and message, file and line of the user's code."""
    exit_code: int | None = None
    signal: int | None = None
    duration_s: float | None = None
    """Monotonic time of the task process."""
    rendered_fields: dict[str, Any] | None = None
    rendered_map_index: str | None = None
    own_callbacks: bool = False
    """The task's process lived to report and runs the callbacks of the outcome itself; otherwise the server has them run."""
    pid: int | None = None
    log_size: int | None = None
    """Bytes of log the runner has produced, so that the server knows when the log is complete."""
    used: dict[str, float] | None = None
    """Single tries (pods): {"memory_bytes": most at a time, "cpu_seconds"} of everything that ran there."""


@dataclass(slots=True)
class LogChunk(_Message):
    """Bytes [offset, offset+len(text.encode())) of the try's log file: UTF-8 JSON lines, see LOG_FORMAT."""

    try_id: str
    token: str = ""
    offset: int = 0
    text: str = ""
    end: bool = False


LOG_FORMAT = """One JSON object per line: {"t": ISO time with microseconds and Z, "level": "info", "logger": "…",
"event": text of the line, "src": "log"|"stdout"|"stderr"|"system"} plus optional "lineno", "filename", "error_detail"."""


@dataclass(slots=True)
class ExchangeRequest(_Message):
    """The worker's side of one exchange. A worker may have several in flight (one parked, one reporting)."""

    worker_id: str
    """UUID of the worker process (new at every start)."""
    epoch: int = 0
    """Raised by the worker after every exchange whose answer it did not fully receive, after closing the connection:
    the server then puts every order of older epochs that is not in `running` back to queued, since it can no longer start."""
    name: str = ""
    hostname: str = ""
    pid: int = 0
    slots: int = 0
    queues: list[str] = field(default_factory=lambda: ["default"])
    version: str = ""
    free: int = 0
    """Orders it is ready to take now; the server also never exceeds `slots` minus what it knows to run there."""
    running: list[str] = field(default_factory=list)
    """try ids it holds (heartbeats)."""
    finished: list[dict[str, Any]] = field(default_factory=list)
    """FinishReports."""
    updates: list[dict[str, Any]] = field(default_factory=list)
    """TryUpdates."""
    wait_s: float = 0.0
    """How long the server may park this call when there is nothing to hand out (long poll)."""
    wire_version: int = WIRE_VERSION
    executor: str = "local"
    """Whose tries it runs: the alias of an executor."""
    wanted: list[str] | None = None
    """None: whatever its queues hold. A list: only these tries, which a broker's messages have named."""


@dataclass(slots=True)
class ExchangeResponse(_Message):
    """The server's side of one exchange."""

    start: list[dict[str, Any]] = field(default_factory=list)
    """StartOrders."""
    kill: list[dict[str, Any]] = field(default_factory=list)
    """{"try_id", "reason"}: kill the process tree, then report the outcome "killed"."""
    settled: list[dict[str, Any]] = field(default_factory=list)
    """One per finished report: {"try_id", "status": 200|409|410, "detail"}; the worker forgets it."""
    unwanted: list[str] = field(default_factory=list)
    """Of `wanted`: they are not queued (any more), or somebody else has them. Their messages are done with."""
    lease_s: float = 30.0
    """The worker must exchange again within this time or its tries count as lost."""
