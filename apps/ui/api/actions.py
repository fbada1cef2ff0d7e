"""REST: clear and mark with a preview in numbers and words before, and an undo for ten minutes after.

Dry run is the default, as everywhere: it answers what would change and what follows from it. The pages' dialogs say the same.
Next door: `switching` (pause, state of a run, deletion).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from pydantic import field_validator

from apps.access.rest.body import Body, Note
from apps.access.rest.errors import Problem
from apps.access.rest.operations import Call
from apps.runs.actions import clearing, marking, undo
from apps.runs.api.lookups import the_run
from apps.runs.models import Run, TaskInstance
from apps.runs.models import Undo as Kept
from apps.ui import previews, words
from apps.ui.api import own

_TEXT, _COUNT = {"type": "string"}, {"type": "integer"}
_NULL = {"type": "null"}
CHANGE = {
    "type": "object",
    "title": "ActionAnswer",
    "properties": {
        "dry_run": {"type": "boolean"},
        "total": _COUNT,
        "by_state": {"type": "object", "additionalProperties": _COUNT},
        "tasks": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"task_id": _TEXT, "state": _TEXT, "count": _COUNT, "runs": _COUNT},
                "required": ["task_id", "state", "count", "runs"],
            },
        },
        "consequences": {"type": "array", "items": _TEXT},
        "undo": {"anyOf": [{"type": "string", "format": "uuid"}, _NULL]},
        "undo_until": {"anyOf": [{"type": "string", "format": "date-time"}, _NULL]},
    },
    "required": ["dry_run", "total", "by_state", "tasks", "consequences", "undo", "undo_until"],
}
RUN_PATH = "POST /dags/{dag_id}/runs/{run_id}"


class _Choice(Body):
    dry_run: bool = True
    task_ids: list[str | tuple[str, int]] | None = None
    """Tasks, or (task, map index); null for all of the run."""
    upstream: bool = False
    downstream: bool = False
    future: bool = False
    past: bool = False
    note: Note | None = None


class ActionClearBody(_Choice):
    """What to run again, beginning from a run."""

    only_failed: bool = False
    only_running: bool = False
    latest_version: bool = False

    @field_validator("task_ids")
    @classmethod
    def _something(cls, value: Any) -> Any:
        if value == []:
            raise ValueError("task_ids must name a task, or be left out for all of the run")
        return value


class ActionMarkBody(_Choice):
    """What to give a state by hand."""

    state: str
    task_ids: list[str | tuple[str, int]]  # type: ignore[assignment]

    @field_validator("state")
    @classmethod
    def _final(cls, value: str) -> str:
        if value not in ("success", "failed", "skipped"):
            raise ValueError("one of success, failed, skipped")
        return value


def answer(found: Sequence[TaskInstance], told: Sequence[tuple[str, str, str]], *, dry_run: bool, kept: UUID | None) -> dict[str, Any]:
    """The answer of an action or its preview; `told`: what previews say follows from it."""
    shown = previews.summary(found, "", "")
    until = Kept.objects.values_list("at", flat=True).get(pk=kept) + timedelta(minutes=undo.MINUTES) if kept else None
    return {
        "dry_run": dry_run,
        "total": shown["total"],
        "by_state": dict(shown["by_state"]),
        "tasks": [{"task_id": i["task_id"], "state": i["state"], "count": i["count"], "runs": i["runs"]} for i in shown["items"]],
        "consequences": [sentence for _, sentence, _ in told],
        "undo": str(kept) if kept else None,
        "undo_until": until,
    }


def _run(call: Call, dag_id: str, run_id: str) -> Run:
    return the_run(call, dag_id, run_id)


@own(f"{RUN_PATH}/clear", may=("edit", "task"), body=ActionClearBody, returns=CHANGE)
def act_clear(call: Call, dag_id: str, run_id: str) -> dict[str, Any]:
    """Run tasks again. First look (`dry_run`, the default), then do it: the answer names what takes it back."""
    from apps.runs.actions import notes

    body: ActionClearBody = call.body
    run = _run(call, dag_id, run_id)
    request = clearing.ClearRequest(
        dag_id=dag_id, run_pks=[run.pk], task_ids=list(body.task_ids) if body.task_ids else None, only_failed=body.only_failed,
        only_running=body.only_running, upstream=body.upstream, downstream=body.downstream, future=body.future, past=body.past,
        run_on_latest_version=True if body.latest_version else None,
    )  # fmt: skip
    found = clearing.preview(request)
    told = previews.clear_consequences(run, found, {"code": "latest" if body.latest_version else "same"})
    if body.dry_run:
        return answer(found, told, dry_run=True, kept=None)
    what = f"Clear {words.plural(len(found), 'task')} of {dag_id}"
    with transaction.atomic():
        runs = {ti.run_id for ti in found}
        cleared, kept = undo.remembering(lambda: clearing.clear(request, actor=call.actor), runs, found, what, call.actor)
        if body.note is not None:
            notes.set_task_note(cleared, body.note, actor=call.actor)
        return answer(found, told, dry_run=False, kept=kept)


@own(f"{RUN_PATH}/mark", may=("edit", "task"), body=ActionMarkBody, returns=CHANGE)
def act_mark(call: Call, dag_id: str, run_id: str) -> dict[str, Any]:
    """Give tasks a state by hand. First look (`dry_run`, the default), then do it: the answer names what takes it back."""
    body: ActionMarkBody = call.body
    run = _run(call, dag_id, run_id)
    request = marking.MarkRequest(
        run=run, task_ids=list(body.task_ids), state=body.state, upstream=body.upstream, downstream=body.downstream, future=body.future,
        past=body.past, note=body.note,
    )  # fmt: skip
    found = marking.preview(request)
    told = previews.mark_consequences(body.state, found)
    if body.dry_run:
        return answer(found, told, dry_run=True, kept=None)
    what = f"Mark {words.plural(len(found), 'task')} of {dag_id} as {body.state}"
    with transaction.atomic():
        runs = {ti.run_id for ti in found}
        _, kept = undo.remembering(lambda: marking.mark(request, actor=call.actor), runs, found, what, call.actor)
        return answer(found, told, dry_run=False, kept=kept)


_UNDONE = {"type": "object", "title": "Undone", "properties": {"message": _TEXT}, "required": ["message"]}


@own("POST /undo/{undo_id}", may=("edit", "run"), path={"undo_id": UUID}, returns=_UNDONE)
def undo_action(call: Call, undo_id: UUID) -> dict[str, Any]:
    """Take an action back, as long as nothing has started from it and ten minutes are not over."""
    kept = Kept.objects.filter(pk=undo_id).first()
    if kept is None:
        raise Problem(404, "There is no such action to take back, or its ten minutes are over.")
    for dag_id in kept.dag_ids or [kept.dag_id]:
        call.require("edit", "dag" if kept.paused is not None else "run", dag_id)
    return {"message": undo.undo(undo_id, actor=call.actor)}
