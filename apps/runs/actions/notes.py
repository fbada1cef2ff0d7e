"""Notes on runs and task instances: what people leave for each other. An empty text deletes the note."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from apps.access import audit
from apps.runs import sql, wake
from apps.runs.errors import Invalid
from apps.runs.models import Event, Run, TaskInstance

MAX_LENGTH = 1000
"""Characters; Airflow's limit."""


def _checked(text: str | None) -> str | None:
    if text is not None and len(text) > MAX_LENGTH:
        raise Invalid(f"A note has at most {MAX_LENGTH} characters; this one has {len(text)}.", field="note")
    return text or None


def set_run_note(run: Run, text: str | None, *, actor: audit.Actor) -> Run:
    """Set, or with an empty text or None delete, the note of a run. Raises Invalid."""
    note = _checked(text)
    with transaction.atomic():
        before = Run.objects.select_for_update(no_key=True).values_list("note", flat=True).get(pk=run.pk)
        Run.objects.filter(pk=run.pk).update(note=note, note_user=actor.name if note else None)
        Event.objects.create(
            kind="run",
            verb="note",
            dag_id=run.dag_id,
            run_pk=run.pk,
            run_id=run.run_id,
            payload={"state": run.state},
            at=sql.now(),
        )
        audit.record("patch_dag_run", actor, dag_id=run.dag_id, run_id=run.run_id, extra=audit.change({"note": before}, {"note": note}))
        wake.send_on_commit(wake.LIVE)
    run.note, run.note_user = note, actor.name if note else None
    return run


def set_task_note(tis: Sequence[TaskInstance], text: str | None, *, actor: audit.Actor) -> None:
    """Set or delete the note of several task instances. Raises Invalid."""
    note = _checked(text)
    if not tis:
        return
    with transaction.atomic():
        before = dict(TaskInstance.objects.filter(pk__in=[ti.pk for ti in tis]).values_list("pk", "note"))
        TaskInstance.objects.filter(pk__in=list(before)).update(note=note, note_user=actor.name if note else None)
        audit.record_each(
            "patch_task_instance", actor,
            (
                {"dag_id": ti.dag_id, "run_id": ti.run.run_id, "task_id": ti.task_id, "map_index": ti.map_index,
                 "try_number": ti.try_number, "extra": audit.change({"note": before.get(ti.pk)}, {"note": note})}
                for ti in tis
            ),
        )  # fmt: skip
        wake.send_on_commit(wake.LIVE)
    for ti in tis:
        ti.note = note
