"""What task code may ask with its try's token: connections, variables, XComs, and facts about runs.

Every call first checks that the try still runs; a fenced try gets 410 and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from apps.access import actions, audit, surroundings, teams
from apps.access.audit import Actor
from apps.access.models import Connection, Variable
from apps.dags import ownership
from apps.dags.models import Dag
from apps.runs import sql
from apps.runs.actions import clearing, creation
from apps.runs.assets import reading
from apps.runs.errors import ActionRefused, Conflict
from apps.runs.execution import checking, counts, reports, tokens
from apps.runs.execution.refusal import Refused
from apps.runs.models import Run
from trackside.core import idtext
from trackside.core.messages import RunRecord
from trackside.core.states import RunType, TriggeredBy
from trackside.runner.jsonio import exact_dumps, exact_loads


@dataclass(frozen=True, slots=True)
class Caller:
    """The running try that asks."""

    try_id: UUID
    ti_pk: int
    run_pk: int
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    user: str | None


_CALLER = """
SELECT t.id, ti.id, ti.run_id, ti.dag_id, r.run_id, ti.task_id, ti.map_index, r.triggering_user_name, t.token_hash, t.state = 'running' AND ti.try_id = t.id
FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id JOIN runs_run r ON r.id = ti.run_id
WHERE t.id = %s
"""


def caller(token: str | Caller) -> Caller:
    """Who asks (a callback process brings its own answer); 401 for no try's token, 410 for a try that was ended or handed to somebody else."""
    if isinstance(token, Caller):
        return token
    parts = tokens.split(token)
    if parts is None:
        raise Refused(401, "This is not a try token.")
    rows = sql.rows(_CALLER, [parts[0]])
    if not rows:
        raise Refused(410, "This try does not exist any more.")
    *facts, kept, running = rows[0]
    if not running or not tokens.matches(parts[1], kept):
        raise Refused(410, "This try was ended by the server: kill it and stop.")
    return Caller(*facts)


# --- connections and variables ------------------------------------------------------------------------------------------
def get_connection(*, token: str, body: Any, query: dict[str, str], conn_id: str) -> dict[str, Any]:
    """A connection with its secrets."""
    me = caller(token)
    if (of_team := surroundings.connection(conn_id, lambda: ownership.code_of(me.dag_id))) is not None:
        return of_team
    c = Connection.objects.filter(conn_id=conn_id).first()
    if c is None or not _may_have(me, c, "connection", conn_id):
        raise Refused(404, f"The conn_id `{conn_id}` isn't defined. Create it in the admin under Connections.")
    return {
        "conn_id": c.conn_id, "conn_type": c.conn_type, "description": c.description, "host": c.host, "schema": c.schema, "login": c.login,
        "password": c.password, "port": c.port, "extra": c.extra,
    }  # fmt: skip


def get_variable(*, token: str, body: Any, query: dict[str, str], key: str) -> dict[str, Any]:
    """A variable's value."""
    me = caller(token)
    if (text := surroundings.variable(key, lambda: ownership.code_of(me.dag_id))) is not None:
        return {"key": key, "value": text}
    v = Variable.objects.filter(key=key).first()
    if v is None or not _may_have(me, v, "variable", key):
        raise Refused(404, f"Variable {key} does not exist")
    return {"key": v.key, "value": v.value}


def list_variables(*, token: str, body: Any, query: dict[str, str]) -> dict[str, Any]:
    """Keys that begin with a prefix."""
    me = caller(token)
    return {
        "keys": list(
            Variable.objects.filter(teams.readable(ownership.code_of(me.dag_id)), key__startswith=query.get("prefix", "")).order_by("key").values_list("key", flat=True)[:10_000]
        )
    }


def put_variable(*, token: str, body: dict[str, Any], query: dict[str, str], key: str) -> dict[str, Any]:
    """Set a variable. Keys are the site's, not the team's: that one is taken has to be said, or the task would believe it had set it."""
    me = caller(token)
    kept = Variable.objects.filter(key=key).first()
    if kept is not None and not _may_have(me, kept, "variable", key):
        raise Refused(403, f"Variable {key} cannot be set from this DAG. Use another key, or ask an administrator.")
    if not 0 < len(key) <= 250:
        raise Refused(422, "A variable's key must have 1 to 250 characters.")
    if kept is None and (why := idtext.flaw(key, "key of the variable")):
        raise Refused(422, why)
    values: dict[str, Any] = {"value": str(body.get("value") if body.get("value") is not None else "")}
    if (description := checking.field(body, "description", str)) is not None:
        values["description"] = description
    before = actions.variable_state(kept) if kept is not None else {}
    with transaction.atomic():
        stored, _ = Variable.objects.update_or_create(key=key, defaults=values)
        _note_change("patch_variable" if before else "post_variable", me, key, audit.change(before, actions.variable_state(stored)))
    return {}


def _note_change(action: str, me: Caller, key: str, extra: dict[str, Any]) -> None:
    """A task changed what belongs to the site, not to its run: that is for the trail."""
    audit.record(
        action, Actor(me.dag_id, "worker"), dag_id=me.dag_id, run_id=me.run_id, task_id=me.task_id, map_index=me.map_index,
        object_type="variable", object_id=key, extra=extra,
    )  # fmt: skip


def delete_variable(*, token: str, body: Any, query: dict[str, str], key: str) -> dict[str, Any]:
    """Delete a variable; how many there were."""
    me = caller(token)
    kept = Variable.objects.filter(key=key).first()
    if kept is None or not _may_have(me, kept, "variable", key):
        return {"deleted": 0}
    with transaction.atomic():
        deleted = Variable.objects.filter(key=key).delete()[0]
        if deleted:
            _note_change("delete_variable", me, key, {"before": actions.variable_state(kept)})
    return {"deleted": deleted}


def _may_have(me: Caller, secret: Connection | Variable, kind: str, name: str) -> bool:
    """What is another team's is not there for the task, so that names cannot be guessed; the trail has the attempt."""
    if not secret.team_name or teams.may_have(secret, ownership.code_of(me.dag_id)):
        return True
    teams.refused(kind, name, dag_id=me.dag_id, run_id=me.run_id, task_id=me.task_id, map_index=me.map_index)
    return False


# --- XComs --------------------------------------------------------------------------------------------------------------
_GET_XCOMS = """
SELECT x.task_id, x.map_index, x.key, x.value, r.run_id, x.length, x.dag_id, x.shown FROM runs_xcom x JOIN runs_run r ON r.id = x.run_id
WHERE x.dag_id = %(dag)s AND (%(prior)s OR r.run_id = %(run)s) AND (%(task)s::text IS NULL OR x.task_id = %(task)s) AND (%(key)s::text IS NULL OR x.key = %(key)s)
  AND (%(index)s::int IS NULL OR x.map_index = %(index)s)
  AND (NOT %(prior)s OR r.run_id = %(run)s OR r.logical_date <= (SELECT logical_date FROM runs_run WHERE dag_id = %(dag)s AND run_id = %(run)s))
ORDER BY r.logical_date DESC NULLS LAST, r.id DESC, x.task_id, x.map_index LIMIT 20000
"""


def get_xcoms(*, token: str | Caller, body: Any, query: dict[str, str]) -> dict[str, Any]:
    """XComs of a task or run; own DAG and run unless named."""
    me = caller(token)
    rows = sql.rows(_GET_XCOMS, {
        "dag": query.get("dag_id") or me.dag_id, "run": query.get("run_id") or me.run_id, "task": query.get("task_id") or None,
        "key": query.get("key") or None, "index": checking.whole(query.get("map_index"), "map_index"),
        "prior": query.get("include_prior_dates", "").lower() in ("1", "true"),
    })  # fmt: skip
    names = ("task_id", "map_index", "key", "value", "run_id", "length", "dag_id", "shown")
    found = [dict(zip(names, row, strict=True)) for row in rows]
    return {"xcoms": [{**x, "value": exact_loads(x["value"]), "shown": exact_loads(x["shown"]) if x["shown"] else None} for x in found]}


def push_xcom(*, token: str, body: dict[str, Any], query: dict[str, str]) -> dict[str, Any]:
    """Store an XCom of the own task instance."""
    me = caller(token)
    key = body.get("key")
    if not isinstance(key, str) or not 0 < len(key) <= 512:
        raise Refused(422, "An XCom key must be a text of 1 to 512 characters.")
    try:
        value, shown = exact_dumps(body.get("value")).decode(), reports.shown_text(body.get("shown"))
    except TypeError as e:
        raise Refused(422, f"XCom {key!r} cannot be stored: {e}") from e
    length = checking.field(body, "length", int)
    if max(len(value), len(shown or "")) > settings.MAX_XCOM_BYTES:
        raise Refused(
            413,
            f"XCom {key!r} has {len(value):,} bytes; the limit is {settings.MAX_XCOM_BYTES:,}. Store it elsewhere and push its address.",
        )
    with transaction.atomic():
        reports.store_xcoms([(me.run_pk, me.dag_id, me.task_id, me.map_index, key, value, length, shown)], sql.now())
    return {}


def delete_xcom(*, token: str, body: Any, query: dict[str, str], key: str) -> dict[str, Any]:
    """Delete an XCom of the own task instance."""
    me = caller(token)
    n = sql.run(
        "DELETE FROM runs_xcom WHERE run_id = %s AND task_id = %s AND map_index = %s AND key = %s",
        [me.run_pk, me.task_id, me.map_index, key],
    )
    return {"deleted": n}


# --- runs and task instances ----------------------------------------------------------------------------------------------
_RUN = """
SELECT dag_id, run_id, run_type, state, logical_date, data_interval_start, data_interval_end, run_after, queued_at, start_date, end_date,
       clear_number, conf::text, note, triggered_by, triggering_user_name, partition_key, partition_date
FROM runs_run WHERE
"""


def _iso(value: datetime | None) -> str | None:
    return value.isoformat() if value else None


def _record(r: tuple) -> dict[str, Any]:
    return RunRecord(
        dag_id=r[0], run_id=r[1], run_type=r[2], state=r[3], logical_date=_iso(r[4]), data_interval_start=_iso(r[5]), data_interval_end=_iso(r[6]),
        run_after=_iso(r[7]), queued_at=_iso(r[8]), start_date=_iso(r[9]), end_date=_iso(r[10]), clear_number=r[11], conf=exact_loads(r[12]),
        note=r[13], triggered_by=r[14], triggering_user_name=r[15], partition_key=r[16], partition_date=_iso(r[17]),
    ).to_dict()  # fmt: skip


def previous_run(*, token: str | Caller, body: Any, query: dict[str, str]) -> dict[str, Any]:
    """The run before a logical date (own run's by default), optionally in a state."""
    me = caller(token)
    before = counts.moments(query, "logical_date")
    date = before[0] if before else sql.rows("SELECT logical_date FROM runs_run WHERE id = %s", [me.run_pk])[0][0]
    if date is None:
        return {"run": None}
    rows = sql.rows(
        _RUN + "dag_id = %s AND logical_date < %s AND (%s::text IS NULL OR state = %s) ORDER BY logical_date DESC LIMIT 1",
        [query.get("dag_id") or me.dag_id, date, query.get("state") or None, query.get("state") or None],
    )
    return {"run": _record(rows[0]) if rows else None}


def count_runs(*, token: str | Caller, body: Any, query: dict[str, str]) -> dict[str, Any]:
    """How many runs of a DAG match."""
    return counts.count_runs(caller(token).dag_id, query)


def run_state(*, token: str | Caller, body: Any, query: dict[str, str]) -> dict[str, Any]:
    """State of one run, null if there is none."""
    me = caller(token)
    return counts.run_state(me.dag_id, {**query, "run_id": query.get("run_id") or me.run_id})


def count_task_instances(*, token: str | Caller, body: Any, query: dict[str, str]) -> dict[str, Any]:
    """How many task instances match."""
    return counts.count_task_instances(caller(token).dag_id, query)


def task_states(*, token: str | Caller, body: Any, query: dict[str, str]) -> dict[str, Any]:
    """run id → task id (with _index when mapped) → state (null for none)."""
    return counts.task_states(caller(token).dag_id, query)


def trigger_run(*, token: str, body: dict[str, Any], query: dict[str, str]) -> dict[str, Any]:
    """Trigger a run of another DAG (TriggerDagRunOperator)."""
    me = caller(token)
    date, after, run_id = body.get("logical_date"), body.get("run_after"), checking.field(body, "run_id", str)
    conf, note = checking.field(body, "conf", dict), checking.field(body, "note", str)
    try:
        run = creation.trigger(
            str(body.get("dag_id")), actor=Actor(me.user or "operator", "worker"), run_id=run_id,
            logical_date=checking.moment(date, "logical_date") if date else None, conf=conf or {}, note=note,
            run_after=checking.moment(after, "run_after") if after else None, interval_by_run_after=True,
            run_type=RunType.OPERATOR_TRIGGERED, triggered_by=TriggeredBy.OPERATOR,
        )  # fmt: skip
    except Conflict as e:
        existing = _existing(str(body.get("dag_id")), run_id) if body.get("reset") else None
        if existing is None:
            raise Refused(409, str(e.detail)) from e
        clearing.clear_run(existing, actor=Actor(me.user or "operator", "worker"))  # with the conf it had (Airflow's rule)
        existing.refresh_from_db()
        run = existing
    except ActionRefused as e:
        raise Refused(e.status, str(e.detail)) from e
    return {"dag_id": run.dag_id, "run_id": run.run_id, "state": run.state}


def _existing(dag_id: str, run_id: str | None) -> Run | None:
    return Run.objects.filter(dag_id=dag_id, run_id=run_id).first() if run_id else None


def asset_events(*, token: str | Caller, body: Any, query: dict[str, str]) -> dict[str, Any]:
    """Past events of an asset (by name, URI or both) or of an alias, oldest first unless `ascending=false`."""
    caller(token)
    asked = {key: query.get(key) or None for key in ("name", "uri", "alias")}
    if not any(asked.values()):
        raise Refused(422, "Name the asset (name, uri) or the alias.")
    limit = checking.whole(query.get("limit"), "limit")
    after, before = ([*(counts.moments(query, key) or ()), None][0] for key in ("after", "before"))
    ascending = query.get("ascending", "true").lower() not in ("0", "false")
    found = reading.history(**asked, after=after, before=before, ascending=ascending, limit=None if limit is None else max(0, limit))
    return {"asset_events": found}


def get_dag(*, token: str, body: Any, query: dict[str, str], dag_id: str) -> dict[str, Any]:
    """A few facts about a DAG."""
    caller(token)
    dag = Dag.objects.filter(dag_id=dag_id).first()
    if dag is None:
        raise Refused(404, f"The Dag with dag_id: `{dag_id}` was not found")
    return {
        "dag_id": dag.dag_id,
        "is_paused": dag.is_paused,
        "is_stale": dag.is_stale,
        "owners": ", ".join(dag.owners) or None,
        "bundle_name": dag.bundle_name,
        "bundle_version": dag.bundle_version,
        "relative_fileloc": dag.relative_fileloc,
        "tags": list(dag.tags.order_by("name").values_list("name", flat=True)),
        "next_dagrun": _iso(dag.next_logical_date),
    }
