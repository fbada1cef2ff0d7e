"""Start orders: everything a task process needs to begin, in one answer, for many tries in two queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings

from apps.dags import ownership
from apps.runs import compiled, sql, transitions
from apps.runs.assets import reading
from apps.runs.execution import tokens
from trackside.core.messages import RunRecord, StartOrder
from trackside.core.spec import TaskSpec
from trackside.core.states import RunType
from trackside.runner.jsonio import exact_loads

PREFETCH_BYTES = 65_536
PREFETCH_ROWS = 200

_FACTS = """
SELECT ti.id, ti.try_id, ti.run_id, ti.dag_id, ti.task_id, ti.map_index, ti.try_number, ti.max_tries, ti.start_date, ti.queued_at, ti.pool, ti.queue,
       ti.priority_weight, ti.hostname, ti.operator, ti.reschedules, ti.next_method, ti.next_kwargs::text,
       r.run_id, r.run_type, r.state, r.logical_date, r.data_interval_start, r.data_interval_end, r.run_after, r.queued_at, r.start_date, r.clear_number,
       r.conf::text, r.note, r.triggered_by, r.triggering_user_name, r.partition_key,
       d.fileloc, d.relative_fileloc, d.bundle_name, coalesce(r.bundle_version, d.bundle_version), v.id, v.number, v.file_hash, v.spec_hash,
       CASE WHEN r.bundle_version IS DISTINCT FROM d.bundle_version AND r.bundle_version IS NOT NULL THEN v.spec ->> 'relative_fileloc' END,
       r.partition_date, v.files_hash, EXISTS (SELECT 1 FROM access_team)
FROM runs_taskinstance ti JOIN runs_run r ON r.id = ti.run_id JOIN dags_dag d ON d.dag_id = ti.dag_id
LEFT JOIN dags_dagversion v ON v.id = coalesce(r.dag_version_id, d.current_version_id)
WHERE ti.id = ANY(%s::bigint[])
"""
_XCOMS = """
SELECT run_id, task_id, map_index, value, shown FROM runs_xcom
WHERE run_id = ANY(%s::bigint[]) AND task_id = ANY(%s::text[]) AND key = 'return_value' AND octet_length(value) <= %s ORDER BY id
"""


def _iso(value: datetime | None) -> str | None:
    return value.isoformat() if value is not None else None


def build(claimed: Sequence[tuple[int, UUID, int]], secrets: Sequence[str]) -> list[dict[str, Any]]:
    """StartOrders for what `transitions.start` claimed, best first."""
    if not claimed:
        return []
    facts = {r[0]: r for r in sql.rows(_FACTS, [[pk for pk, _, _ in claimed]])}
    dags = compiled.get_many({(r[37], r[40]) for r in facts.values() if r[37] is not None})
    upstream = {pk: _upstream(r, dags) for pk, r in facts.items()}
    xcoms = _prefetch(facts, upstream)
    counts = _mapped_counts(facts)
    events = reading.consumed({r[2] for r in facts.values() if r[19] == RunType.ASSET_TRIGGERED})
    refused = reading.unusable({pk: task for pk, r in facts.items() if (task := _task(r, dags)) is not None})
    owners = ownership.teams_of({r[3] for r in facts.values()}, any_rows=any(r[44] for r in facts.values()))
    return [
        _order(facts[pk], f"{try_id}.{secrets[n - 1]}", upstream[pk], xcoms, counts, events, refused, owners)
        for pk, try_id, n in claimed
        if pk in facts
    ]


def _task(r: tuple, dags: dict[UUID, compiled.CompiledDag]) -> TaskSpec | None:
    return dags[r[37]].graph.tasks.get(r[4]) if r[37] in dags else None


def _upstream(r: tuple, dags: dict[UUID, compiled.CompiledDag]) -> tuple[str, ...]:
    dag = dags.get(r[37])
    return dag.graph.upstream.get(r[4], ()) if dag else ()


def _prefetch(facts: dict[int, tuple], upstream: dict[int, tuple[str, ...]]) -> dict[int, dict[str, list[dict[str, Any]]]]:
    """run → upstream task → its return values, small ones only."""
    wanted = {t for tasks in upstream.values() if len(tasks) <= PREFETCH_ROWS for t in tasks}
    out: dict[int, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    if wanted:
        for run_pk, task_id, map_index, value, shown in sql.rows(
            _XCOMS, [sorted({r[2] for r in facts.values()}), sorted(wanted), PREFETCH_BYTES + 1]
        ):
            record = {"task_id": task_id, "map_index": map_index, "key": "return_value", "value": value}
            out[run_pk][task_id].append({**record, "shown": exact_loads(shown)} if shown is not None else record)
    return out


def _mapped_counts(facts: dict[int, tuple]) -> dict[tuple[int, str], int]:
    mapped = [(r[2], r[4]) for r in facts.values() if r[5] >= 0]
    if not mapped:
        return {}
    return {
        (run_pk, task_id): n
        for run_pk, task_id, n in sql.rows(
            "SELECT run_id, task_id, count(*) FROM runs_taskinstance WHERE run_id = ANY(%s::bigint[]) AND task_id = ANY(%s::text[]) AND map_index >= 0 "
            "AND state <> 'removed' GROUP BY 1, 2",
            [sorted({m[0] for m in mapped}), sorted({m[1] for m in mapped})],
        )
    }


def _order(
    r: tuple, token: str, upstream: tuple[str, ...], xcoms: dict[int, dict[str, list[dict[str, Any]]]], counts: dict[tuple[int, str], int],
    events: dict[int, list[dict[str, Any]]], refused: dict[int, list[str]], owners: dict[str, str],
) -> dict[str, Any]:
    records = [x for t in upstream for x in xcoms.get(r[2], {}).get(t, ())]
    complete = len(upstream) <= PREFETCH_ROWS and len(records) <= PREFETCH_ROWS and all(len(x["value"]) <= PREFETCH_BYTES for x in records)
    run = RunRecord(
        dag_id=r[3], run_id=r[18], run_type=r[19], state=r[20], logical_date=_iso(r[21]), data_interval_start=_iso(r[22]), data_interval_end=_iso(r[23]),
        run_after=_iso(r[24]), queued_at=_iso(r[25]), start_date=_iso(r[26]), clear_number=r[27], conf=exact_loads(r[28]), note=r[29],
        triggered_by=r[30], triggering_user_name=r[31], partition_key=r[32], partition_date=_iso(r[42]),
        consumed_asset_events=events.get(r[2], []), team_name=owners.get(r[3]),
    )  # fmt: skip
    return StartOrder(
        try_id=str(r[1]), token=token, dag_id=r[3], task_id=r[4], run=run.to_dict(), map_index=r[5], try_number=r[6], max_tries=r[7],
        ti_start_date=_iso(r[8]), queued_at=_iso(r[9]), pool=r[10], queue=r[11], priority_weight=r[12], hostname=r[13], operator=r[14],
        reschedule_count=r[15], next_method=r[16], next_kwargs=exact_loads(r[17]) if r[17] else None,
        dag_file=r[33], relative_fileloc=r[34], bundle_name=r[35] or "dags-folder", bundle_version=r[36], dag_version_id=str(r[37]) if r[37] else None,
        bundle=_bundle(r[35]), version_fileloc=r[41] or "", dag_version_number=r[38] or 1, file_hash=r[39] or "", files_hash=r[43] or "",
        xcoms=[{**x, "value": exact_loads(x["value"])} for x in records] if complete else [], xcoms_complete=complete,
        expanded_ti_count=counts.get((r[2], r[4])), inactive_assets=refused.get(r[0], []),
        heartbeat_s=settings.HEARTBEAT, self_fence_s=settings.SELF_FENCE, kill_grace_s=settings.KILL_GRACE,
    ).to_dict()  # fmt: skip


def _bundle(name: str) -> dict[str, Any] | None:
    """What a worker needs to get the files of a remote bundle; None for folders."""
    config = next((c for c in settings.DAG_BUNDLES if c.name == name and c.kind != "local"), None)
    return config.to_wire() if config is not None else None


def claim(
    *, worker: UUID | None, epoch: int, hostname: str, queues: Sequence[str], limit: int, now: datetime, executor: str = "local",
    wanted: Sequence[UUID] | None = None,
) -> list[dict[str, Any]]:
    """Claim up to `limit` queued tries and build their orders, in the caller's transaction."""
    if limit <= 0:
        return []
    secrets = [tokens.new_secret() for _ in range(limit)]
    claimed = transitions.start(
        worker=worker, epoch=epoch, hostname=hostname, executor=executor, queues=queues, hashes=[tokens.digest(s) for s in secrets], now=now,
        wanted=wanted,
    )
    return build(claimed, secrets)


def claim_one(try_id: UUID, *, hostname: str, now: datetime, epoch: int = 0, secret: str | None = None) -> dict[str, Any] | None:
    """Claim exactly this try; None if it is not queued (any more). `epoch`: number of the call that it is handed out in, if they
    count. `secret`: of its token, if whoever claims it chose one."""
    secret = secret or tokens.new_secret()
    claimed = transitions.start_one(try_id, hostname=hostname, digest=tokens.digest(secret), now=now, epoch=epoch)
    found = build(claimed, [secret])
    return found[0] if found else None


_CLAIMED = """
SELECT ti.id, t.token_hash FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id AND ti.try_id = t.id
WHERE t.id = %s AND t.state = 'running' AND t.worker_id IS NULL
"""


def claimed_before(try_id: UUID, secret: str) -> dict[str, Any] | None:
    """The order once more, for the runner that claimed the try with this secret of its own and never got the answer."""
    rows = sql.rows(_CLAIMED, [try_id])
    if not rows or not tokens.matches(secret, rows[0][1]):
        return None
    found = build([(rows[0][0], try_id, 1)], [secret])
    return found[0] if found else None


_CLAIMABLE = """
SELECT 1 FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id
WHERE t.id = %s AND t.state = 'queued' AND ti.state = 'queued' AND ti.try_id = t.id
"""


def may_be_claimed(try_id: UUID) -> bool:
    """Whether a try that could not be claimed still waits to be: its rows were locked, or its predecessor is still being killed."""
    return bool(sql.rows(_CLAIMABLE, [try_id]))
