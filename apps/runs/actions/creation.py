"""Runs come into being: triggered by people and programs, or due by the clock (`scheduler` calls `create_run`)."""

from __future__ import annotations

import secrets
import string
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction

from apps.access import audit, prepared
from apps.dags.models import Dag, DagVersion
from apps.runs import compiled, instances, sql, wake
from apps.runs.actions import trail
from apps.runs.errands import asking, deadlines
from apps.runs.errors import ActionRefused, Conflict, Invalid, NotFound
from apps.runs.models import Event, Run
from trackside.core.partitions import Mapping, check_key
from trackside.core.snapshot import CompiledDag
from trackside.core.spec import DagSpec
from trackside.core.states import RunState, RunType
from trackside.core.timetables import DataInterval, InvalidRunId, PlannedElsewhere, from_dict, generate_run_id, validate_run_id
from trackside.core.timetables.partition import CronPartition
from trackside.sdk.exceptions import ParamValidationError
from trackside.sdk.param import check_value, merged

_LETTERS = string.ascii_letters + string.digits


def random_suffix() -> str:
    """Eight characters that make run ids without a logical date unique."""
    return "".join(secrets.choice(_LETTERS) for _ in range(8))


def partition_suffix(key: str) -> str:
    """What makes the run id of a partition of a schedule: its key, and something random, for it may run again."""
    return f"_{key}__{random_suffix()}"


def find(dag_id: str) -> Dag | None:
    """A DAG with its current version as `checked_of` wants it, or None. The version comes without its spec: that is in memory
    (`compiled`), and reading it for each run costs more than the run."""
    dag = prepared.by_key(Dag, dag_id)
    if dag is not None and dag.current_version_id is not None:
        dag.current_version = prepared.by_key(DagVersion, dag.current_version_id, without=("spec", "source"))
    return dag


def trigger(
    dag_id: str,
    *,
    actor: audit.Actor,
    run_id: str | None = None,
    logical_date: datetime | None = None,
    data_interval: tuple[datetime, datetime] | None = None,
    run_after: datetime | None = None,
    conf: dict[str, Any] | None = None,
    note: str | None = None,
    partition_key: str | None = None,
    run_type: str = RunType.MANUAL,
    triggered_by: str = "rest_api",
    dag: Dag | None = None,
    interval_by_run_after: bool = False,
) -> Run:
    """Create a queued run now and wake the scheduler. `dag`: the DAG, from `find`, if the caller has it already.

    The data interval of a run with a logical date is the timetable's at that date; `interval_by_run_after`: at
    `run_after`, as tasks that trigger runs do (row 2.008).

    Raises NotFound (no such DAG), ActionRefused 400 (import errors, conf against params, run type, run id), Conflict
    (run id or logical date taken).
    """
    dag = dag or find(dag_id)
    if dag is None:
        raise NotFound(f"DAG with dag_id: '{dag_id}' not found")
    spec = _check_dag(dag, run_type)
    now = sql.now()
    interval = DataInterval(*data_interval) if data_interval else None
    if logical_date is not None and interval is None:
        interval = _manual_interval(dag, (run_after or now) if interval_by_run_after else logical_date)
        run_after = run_after or (now if interval_by_run_after else interval.end)
    run_after = run_after or now
    run_id = run_id or _own_name(dag, run_type, run_after, interval)
    if run_id:
        try:
            validate_run_id(run_id, run_type=run_type)
        except InvalidRunId as e:
            raise ActionRefused(str(e), field="dag_run_id") from e
    partition_date = _partition_date(dag, partition_key) if partition_key is not None else None
    conf = conf or {}
    check_conf(spec.dag, conf)
    if note is not None and len(note) > 1000:
        raise Invalid("note must not be longer than 1000 characters", field="note")
    with transaction.atomic():
        run = create_run(
            dag,
            spec,
            run_id=run_id or generate_run_id(run_type, run_after, logical_date, random_suffix()),
            run_type=run_type,
            logical_date=logical_date,
            interval=interval,
            run_after=run_after,
            now=now,
            conf=conf,
            note=note,
            triggered_by=triggered_by,
            user=actor.name,
            partition_key=partition_key,
            partition_date=partition_date,
        )
        audit.record(
            "trigger_dag_run",
            actor,
            dag_id=dag_id,
            run_id=run.run_id,
            logical_date=logical_date,
            extra={"after": {"run_type": run_type, "conf": trail.conf_of(conf), "note": note, "run_after": run_after.isoformat()}},
        )
        wake.send_on_commit(wake.SCHEDULER, wake.LIVE)
    return run


def _partition_date(dag: Dag, key: str) -> datetime | None:
    """The moment a partition key of this DAG stands for, if any. Raises ActionRefused 400 for a key its runs cannot have."""
    timetable = from_dict(dag.timetable)
    if "partition" not in timetable.kind:
        raise ActionRefused(
            f"DAG '{dag.dag_id}' is not a partitioned DAG and does not accept a partition_key: leave it out, or give the DAG a schedule "
            "with partitions.", field="partition_key",
        )  # fmt: skip
    try:
        check_key(key)
        if timetable.kind == "partitioned_asset":
            return Mapping(dag.timetable).date(key)
        return timetable.date_of(key) if isinstance(timetable, CronPartition) else None
    except (ValueError, ArithmeticError, RuntimeError) as e:
        raise ActionRefused(f"Partition key {key!r} is not one of DAG '{dag.dag_id}': {e}", field="partition_key") from e


def _manual_interval(dag: Dag, run_after: datetime) -> DataInterval:
    """What a run started by hand is about; own timetables are asked in a callback process."""
    try:
        return from_dict(dag.timetable).infer_manual_data_interval(run_after)
    except PlannedElsewhere:
        said = asking.ask("manual_interval", "The timetable", {"run_after": run_after.isoformat()}, dag_id=dag.dag_id)
        return DataInterval(*(datetime.fromisoformat(text) for text in said))


def _own_name(dag: Dag, run_type: str, run_after: datetime, interval: DataInterval | None) -> str | None:
    """The run id of a timetable of the user's that names its runs; it is asked in a callback process."""
    if not (dag.timetable or {}).get("names_runs"):
        return None
    about = [interval.start.isoformat(), interval.end.isoformat()] if interval else None
    asked = {"run_type": str(run_type), "run_after": run_after.isoformat(), "interval": about}
    return str(asking.ask("run_id", "The timetable", asked, dag_id=dag.dag_id))


class _Checked:
    """A DAG's spec with its compiled graph."""

    def __init__(self, dag: CompiledDag):
        self.compiled = dag
        self.dag: DagSpec = dag.spec


def _check_dag(dag: Dag, run_type: str) -> _Checked:
    if dag.has_import_errors:
        raise ActionRefused(f"DAG with dag_id: '{dag.dag_id}' has import errors and cannot be triggered")
    if dag.current_version is None or dag.is_stale:
        raise ActionRefused(
            f"DAG with dag_id: '{dag.dag_id}' has no usable version: its file is gone. Put the file back, then trigger again."
        )
    checked = checked_of(dag)
    if checked is None:
        raise ActionRefused(f"The stored version of DAG '{dag.dag_id}' cannot be read. Save its file once more, then trigger again.")
    allowed = checked.dag.allowed_run_types
    if allowed is not None and run_type not in allowed:
        raise ActionRefused(f"DAG with dag_id: '{dag.dag_id}' does not allow {run_type} runs (allowed_run_types: {', '.join(allowed)})")
    return checked


def check_conf(spec: DagSpec, conf: dict[str, Any]) -> None:
    """Conf over the params' defaults against each param's JSON schema; raises ActionRefused 400 naming the param."""
    for name, param in spec.params.items():
        if name not in conf and "value" not in param:
            raise ActionRefused(f"Invalid input for param {name}: it has no default, so conf must give it a value", field=f"conf.{name}")
        default = param.get("value")
        value = conf.get(name, default)
        if isinstance(value, dict) and isinstance(default, dict):
            value = merged(default, value)
        try:
            check_value(value, param.get("schema") or {})
        except ParamValidationError as e:
            raise ActionRefused(f"Invalid input for param {name}: {e}", field=f"conf.{name}") from e


def create_run(
    dag: Dag,
    checked: _Checked,
    *,
    run_id: str,
    run_type: str,
    logical_date: datetime | None,
    interval: DataInterval | None,
    run_after: datetime,
    now: datetime,
    conf: dict[str, Any] | None = None,
    note: str | None = None,
    triggered_by: str = "timetable",
    user: str | None = None,
    partition_key: str | None = None,
    partition_date: datetime | None = None,
    told: list[Event] | None = None,
) -> Run:
    """Insert the run and its task instances in the caller's transaction; Conflict if run id or logical date is taken.

    With `told` the run's event is added there for whoever makes many runs and inserts the events of all at once.
    """
    version = dag.current_version
    run = Run(
        dag=dag,
        run_id=run_id,
        run_type=run_type,
        state=RunState.QUEUED,
        logical_date=logical_date,
        data_interval_start=interval.start if interval else None,
        data_interval_end=interval.end if interval else None,
        run_after=run_after,
        queued_at=now,
        updated_at=now,
        conf=conf or {},
        note=note,
        note_user=user if note else None,
        triggered_by=triggered_by,
        triggering_user_name=user,
        partition_key=partition_key,
        partition_date=partition_date,
        dag_version=version,
        bundle_version=version_to_keep(dag, checked.dag),
        expanded=True,
        advance_at=run_after,
    )
    if not sql.insert(run, unless_taken=True):
        raise Conflict(_taken(dag.dag_id, run_id, logical_date))
    instances.create_for_run(run.pk, checked.compiled, version.id if version else None, logical_date, now, run_type=run_type)
    if checked.compiled.spec.deadlines:
        deadlines.create(run, checked.compiled.spec, now)
    payload = {"state": "queued", "run_type": run_type}
    event = Event(at=now, kind="run", verb="create", dag_id=dag.dag_id, run_pk=run.pk, run_id=run_id, payload=payload)
    if told is None:
        sql.insert(event)
    else:
        told.append(event)
    return run


def version_to_keep(dag: Dag, spec: DagSpec) -> str | None:
    """The bundle version a run that begins now keeps; None: it follows the newest."""
    return None if settings.DISABLE_BUNDLE_VERSIONING or spec.disable_bundle_versioning else dag.bundle_version


def _taken(dag_id: str, run_id: str, logical_date: datetime | None) -> dict[str, str]:
    same_id = logical_date is None or Run.objects.filter(dag_id=dag_id, run_id=run_id).exists()
    what = f"run id {run_id}" if logical_date is None or same_id else f"logical_date {logical_date.isoformat()}"
    return {
        "reason": "Unique constraint violation",
        "statement": "hidden",
        "orig_error": "hidden",
        "message": f"DAG {dag_id} already has a run with {what}. Choose another, or clear that run to run it again.",
    }


def checked_of(dag: Dag) -> _Checked | None:
    """The compiled current version of a DAG, or None if it has none that can be read."""
    version = dag.current_version
    found = compiled.get_many([(version.id, version.spec_hash)]) if version is not None else {}
    return _Checked(found[version.id]) if version is not None and version.id in found else None
