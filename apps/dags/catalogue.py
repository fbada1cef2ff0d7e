"""The catalogue's domain calls: what could run, and what people set about it.

For the DAG processor (`store_parse_result`, `touch_files`, `files_gone`), REST, pages, admin (`set_paused`,
`request_parse`) and the scheduler (`schedule_next`). Next door: `storing`, `versions`, `problems`, `next_runs`, and
`hooks`, through which `apps.runs` answers and listens.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from apps.access import audit
from apps.access.audit import Actor
from apps.dags import hooks, storing
from apps.dags.models import ITSELF, Dag, DagFile, ImportProblem
from apps.dags.next_runs import NEXT_COLUMNS, next_run_fields, schedule_next
from apps.dags.storing import FileFacts, Stored
from trackside.runner.parsing import ParseResult

__all__ = [
    "NEXT_COLUMNS",
    "FileFacts",
    "Stored",
    "bundle_problem",
    "bundles_gone",
    "files_gone",
    "next_run_fields",
    "preview_paused",
    "request_parse",
    "schedule_next",
    "set_paused",
    "store_parse_result",
    "touch_files",
]


def store_parse_result(
    file: DagFile,
    result: ParseResult,
    *,
    facts: FileFacts | None = None,
    grace: Collection[str] | None = None,
    now: datetime | None = None,
) -> Stored | None:
    """Store what a parse of `file` gave, in one transaction. None if the file's row is gone.

    `facts`: when the parse began and what the file looked like then. `grace`: DAGs that the parse before this one
    lacked, too; only these become stale (None: every DAG that is lacking). Storing the same result again changes
    nothing.
    """
    now = now or timezone.now()
    return storing.store(file, result, facts or FileFacts(now), grace, now)


def touch_files(parsed: Collection[tuple[int, float]], now: datetime | None = None) -> None:
    """Files (id, seconds) were parsed and came out as before: note when, in two statements for all of them."""
    if not parsed:
        return
    now = now or timezone.now()
    ids = [pk for pk, _ in parsed]
    DagFile.objects.filter(pk__in=ids).update(last_parsed_at=now, seen_at=now)
    Dag.objects.filter(file_id__in=ids, is_stale=False).update(last_parsed_time=now)


def files_gone(file_ids: Collection[int]) -> list[str]:
    """Forget files that no longer exist; their DAGs become stale. Returns the ids of those DAGs."""
    with transaction.atomic():
        files = DagFile.objects.select_for_update().filter(pk__in=list(file_ids)).order_by("pk")
        found = [f.pk for f in files]
        dags = Dag.objects.select_for_update(no_key=True).filter(file_id__in=found, is_stale=False).order_by("dag_id")
        dag_ids = [d.dag_id for d in dags]
        storing.make_stale(dag_ids)
        DagFile.objects.filter(pk__in=found).delete()
    return dag_ids


def bundle_problem(bundle_name: str, path: str, message: str | None, now: datetime | None = None) -> None:
    """Show why a bundle cannot be brought up to date, as an import error of its own; None: it can again. DAGs stay."""
    now = now or timezone.now()
    with transaction.atomic():
        if message is None:
            told = DagFile.objects.filter(bundle_name=bundle_name, relative_path=ITSELF).delete()[0]
        else:
            file, told = DagFile.objects.get_or_create(bundle_name=bundle_name, relative_path=ITSELF, defaults={"path": path[:2000]})
            DagFile.objects.filter(pk=file.pk).update(last_parsed_at=now, seen_at=now)
            if not ImportProblem.objects.filter(file=file, message=message).exists():
                ImportProblem.objects.filter(file=file).delete()
                ImportProblem.objects.create(file=file, at=now, message=message)
                told = True
        if told:
            hooks.dag_changed((), "broken" if message else "mended")


def bundles_gone(names: Collection[str]) -> list[str]:
    """Forget the files of every bundle but these: the others are no longer configured, their DAGs become stale."""
    return files_gone(list(DagFile.objects.exclude(bundle_name__in=list(names)).values_list("pk", flat=True)))


def set_paused(dag_ids: Collection[str], paused: bool, *, actor: Actor, now: datetime | None = None) -> list[str]:
    """Pause or unpause DAGs; returns the ids of those that changed. Unknown ids are passed over.

    Unpausing plans the next run anew: without catchup what was missed stays missed, with catchup it comes.
    """
    now = now or timezone.now()
    with transaction.atomic():
        dags = list(_to_switch(dag_ids, paused).select_for_update(of=("self",), no_key=True))
        for dag in dags:
            dag.save(update_fields=_switch(dag, paused, now))
            audit.record("paused", actor, dag_id=dag.dag_id, object_type="dag", object_id=dag.dag_id,
                         extra={"before": {"is_paused": not paused}, "after": {"is_paused": paused}})  # fmt: skip
        changed = [dag.dag_id for dag in dags]
        hooks.dag_changed(changed, "paused" if paused else "unpaused")
    return changed


def preview_paused(dag_ids: Collection[str], paused: bool, *, now: datetime | None = None) -> list[Dag]:
    """The DAGs that `set_paused` would change, with the values they would get; nothing is written."""
    now = now or timezone.now()
    dags = list(_to_switch(dag_ids, paused))
    for dag in dags:
        _switch(dag, paused, now, ask=False)
    return dags


def _to_switch(dag_ids: Collection[str], paused: bool) -> QuerySet[Dag]:
    return Dag.objects.filter(pk__in=list(dag_ids), is_paused=not paused).order_by("dag_id")


def _switch(dag: Dag, paused: bool, now: datetime, *, ask: bool = True) -> list[str]:
    """Set the attributes of a DAG that is switched; their names."""
    dag.is_paused = paused
    if paused:
        return ["is_paused"]
    schedule_next(dag, hooks.last_automated_interval(dag.dag_id), now, ask=ask)
    return ["is_paused", *NEXT_COLUMNS]


def request_parse(file: DagFile, *, actor: Actor, now: datetime | None = None) -> None:
    """Have a file parsed first, within about a scan interval, whether it changed or not."""
    with transaction.atomic():
        DagFile.objects.filter(pk=file.pk).update(reparse_requested_at=now or timezone.now())
        audit.record("reparse_dag_file", actor, object_type="dag_file", object_id=file.relative_path)
