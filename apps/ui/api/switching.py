"""REST: pause, the state of a whole run and deletion, each with a preview before it acts; what can be taken back names its undo.

Dry run is the default, as for `actions` next door, and the answers have the same form. `total` counts what changes: task instances,
DAGs that are switched, runs that are deleted.
"""

from __future__ import annotations

from typing import Any, Literal

from django.db import transaction

from apps.access.rest.body import Body, Note
from apps.access.rest.errors import not_found
from apps.access.rest.operations import Call
from apps.dags import catalogue
from apps.dags.models import Dag
from apps.runs.actions import deletion, marking, undo
from apps.runs.api.lookups import the_run
from apps.ui import previews, words
from apps.ui.api import own
from apps.ui.api.actions import CHANGE, RUN_PATH, answer


class PauseActionBody(Body):
    """Pause, or with false unpause."""

    dry_run: bool = True
    paused: bool = True


class RunStateActionBody(Body):
    """What to set a run to."""

    dry_run: bool = True
    state: Literal["success", "failed", "queued"]
    note: Note | None = None


class DeleteActionBody(Body):
    """Look, or do it."""

    dry_run: bool = True


def _dag(dag_id: str) -> Dag:
    dag = Dag.objects.filter(pk=dag_id).first()
    if dag is None:
        raise not_found(f"The DAG with ID: `{dag_id}` was not found")
    return dag


@own("POST /dags/{dag_id}/pause", may=("edit", "dag"), body=PauseActionBody, returns=CHANGE)
def act_pause(call: Call, dag_id: str) -> dict[str, Any]:
    """Pause or unpause a DAG. First look (`dry_run`, the default), then do it: the answer names what takes it back."""
    body: PauseActionBody = call.body
    _dag(dag_id)
    with transaction.atomic():
        planned = catalogue.preview_paused([dag_id], body.paused)
        told = previews.pause_consequences(planned, body.paused)
        kept = None
        if not body.dry_run:
            changed = catalogue.set_paused([dag_id], body.paused, actor=call.actor)
            kept = undo.remember_pause(changed, body.paused, actor=call.actor)
        return {**answer([], told, dry_run=body.dry_run, kept=kept), "total": len(planned)}


@own(f"{RUN_PATH}/state", may=("edit", "run"), body=RunStateActionBody, returns=CHANGE)
def act_run_state(call: Call, dag_id: str, run_id: str) -> dict[str, Any]:
    """Set the state of a whole run. First look (`dry_run`, the default), then do it: the answer names what takes it back."""
    body: RunStateActionBody = call.body
    run = the_run(call, dag_id, run_id)
    plan = marking.plan_run(run, body.state)
    found = [*plan.ended, *plan.skipped]
    told = previews.run_consequences(run, body.state, plan)
    if body.dry_run:
        return answer(found, told, dry_run=True, kept=None)
    note = {} if body.note is None else {"note": body.note}
    what = f"Mark the run {words.label(body.state).lower()}"
    with transaction.atomic():
        _, kept = undo.remembering(lambda: marking.mark_run(run, body.state, actor=call.actor, **note), [run.pk], found, what, call.actor)
        return answer(found, told, dry_run=False, kept=kept)


@own(f"{RUN_PATH}/delete", may=("delete", "run"), body=DeleteActionBody, returns=CHANGE)
def act_delete_run(call: Call, dag_id: str, run_id: str) -> dict[str, Any]:
    """Delete a run. First look (`dry_run`, the default), then do it; it cannot be taken back. 409 while it runs."""
    run = the_run(call, dag_id, run_id)
    dry = call.body.dry_run
    plan = deletion.plan_run(run) if dry else deletion.delete_run(run, actor=call.actor)
    return {**answer([], previews.deletion_consequences(plan), dry_run=dry, kept=None), "total": plan.runs}


@own("POST /dags/{dag_id}/delete", may=("delete", "dag"), body=DeleteActionBody, returns=CHANGE)
def act_delete_dag(call: Call, dag_id: str) -> dict[str, Any]:
    """Delete a DAG with its runs. First look (`dry_run`, the default), then do it; it cannot be taken back. 409 while tasks run."""
    dag = _dag(dag_id)
    dry = call.body.dry_run
    plan = deletion.plan_dag(dag) if dry else deletion.delete_dag(dag, actor=call.actor)
    return {**answer([], previews.deletion_consequences(plan), dry_run=dry, kept=None), "total": plan.runs}
