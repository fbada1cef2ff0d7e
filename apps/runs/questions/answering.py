"""A person's answer, or the end of the time to answer, lets the task go on. Once: the first answer counts.

For REST and pages (`respond`) and the scheduler (`time_out`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from django.db import transaction

from apps.access import audit
from apps.access.masking import mask
from apps.runs import brain, claims, sql, transitions
from apps.runs.errors import ActionRefused, Conflict
from apps.runs.execution import exchange
from apps.runs.questions.models import HITLDetail
from apps.runs.transitions import End
from apps.runs.triggerer.firing import wake_after
from trackside.core.states import TaskState
from trackside.runner.jsonio import exact_dumps
from trackside.sdk.exceptions import ParamValidationError
from trackside.sdk.param import check_value


class NotAsked(ActionRefused):
    """Somebody else was asked."""

    status = 403


def respond(detail: HITLDetail, chosen: Sequence[str], params_input: Mapping[str, Any], *, actor: audit.Actor) -> HITLDetail:
    """Answer a question. Raises NotAsked, Conflict (answered already, or the task does not wait any more), ActionRefused."""
    with transaction.atomic():
        claims.lock_runs([detail.ti.run_id])
        detail = HITLDetail.objects.select_related("ti__run").get(pk=detail.pk)
        _check(detail, chosen, params_input, actor)
        now = sql.now()
        detail.responded_at, detail.responded_by = now, {"id": actor.name, "name": actor.name}
        detail.chosen_options, detail.params_input = list(chosen), dict(params_input)
        detail.save(update_fields=["responded_at", "responded_by", "chosen_options", "params_input"])
        transitions.resume([_go_on(detail)], now, parked=TaskState.AWAITING_INPUT)
        ti = detail.ti
        audit.record("update_hitl_detail", actor, dag_id=ti.dag_id, run_id=ti.run.run_id, task_id=ti.task_id, map_index=ti.map_index,
                     extra={"after": {"chosen_options": list(chosen), "params_input": mask(dict(params_input))}})  # fmt: skip
        done = exchange.advance_now({ti.run_id}, now)
        transaction.on_commit(lambda: wake_after(done))
    return detail


def _check(detail: HITLDetail, chosen: Sequence[str], params_input: Mapping[str, Any], actor: audit.Actor) -> None:
    ti = detail.ti
    who = f"task {ti.task_id} of run {ti.run.run_id} of {ti.dag_id}"
    assigned = [str(u.get("id")) for u in detail.assigned_users if isinstance(u, dict)]
    if assigned and actor.name not in assigned:
        raise NotAsked(f"{actor.name} is not among the users asked by {who}: {', '.join(assigned)}.")
    if detail.responded_at is not None:
        raise Conflict(f"The question of {who} has been answered already; the first answer counts.")
    if ti.state != TaskState.AWAITING_INPUT or ti.try_id != detail.try_id:
        raise Conflict(f"The {who} does not wait for an answer any more.")
    unknown = [o for o in chosen if o not in detail.options]
    if unknown:
        raise ActionRefused(f"{unknown} are not among the options {detail.options}.")
    if len(chosen) > 1 and not detail.multiple:
        raise ActionRefused("Only one option may be chosen.")
    for name, value in params_input.items():
        try:
            check_value(value, (detail.params.get(name) or {}).get("schema") or {})
        except ParamValidationError as e:
            raise ActionRefused(f"{name}: {e}") from e


def _go_on(detail: HITLDetail, *, timed_out: bool = False) -> End:
    event: dict[str, Any] = {
        "chosen_options": detail.chosen_options, "params_input": detail.params_input, "responded_at": detail.responded_at,
        "responded_by_user": detail.responded_by, "timedout": timed_out,
    }  # fmt: skip
    if detail.chosen_options is None:
        event = {"error": "Nobody answered in time, and there are no defaults.", "error_type": "timeout"}
    return End(detail.ti_id, detail.try_id, next_kwargs=exact_dumps({"event": event}, option=orjson.OPT_UTC_Z).decode())


_DUE = """
SELECT h.id, ti.run_id FROM runs_hitldetail h JOIN runs_taskinstance ti ON ti.id = h.ti_id AND ti.try_id = h.try_id
WHERE ti.state = 'awaiting_input' AND ti.next_at <= %(now)s AND h.responded_at IS NULL LIMIT 500
"""


def time_out(now: datetime) -> list[int]:
    """Questions nobody answered in time: their defaults are taken, or the task goes on in order to fail; the runs."""
    due = sql.rows(_DUE, {"now": now})
    if not due:
        return []
    with transaction.atomic():
        locked = set(claims.lock_runs({run_pk for _, run_pk in due}))
        late = {pk for pk, run_pk in sql.rows(_DUE, {"now": now}) if run_pk in locked}
        details = list(HITLDetail.objects.filter(pk__in=late))
        for detail in details:
            if detail.defaults is not None:
                detail.responded_at, detail.chosen_options = now, detail.defaults
                detail.params_input = {name: p.get("value") for name, p in detail.params.items() if isinstance(p, dict)}
                detail.save(update_fields=["responded_at", "chosen_options", "params_input"])
        transitions.resume([_go_on(d, timed_out=True) for d in details], now, parked=TaskState.AWAITING_INPUT)
        brain.touch(locked, now)
    return sorted(locked)
