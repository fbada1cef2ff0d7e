"""Which task instances an action means: tasks with their upstream and downstream, runs with their past and future.

Shared by clearing and marking, so that what a preview shows is what the action touches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db.models import Q, QuerySet

from apps.dags.models import Dag
from apps.runs import compiled
from apps.runs.errors import ActionRefused, NotFound
from apps.runs.models import Run, TaskInstance
from trackside.core.graph import Graph
from trackside.core.snapshot import CompiledDag

TaskChoice = str | tuple[str, int]
"""A task id, or (task id, map index)."""


def dag_of(dag_id: str) -> tuple[Dag, CompiledDag]:
    """The DAG and its current version compiled; NotFound if there is none."""
    dag = Dag.objects.select_related("current_version").filter(dag_id=dag_id).first()
    if dag is None:
        raise NotFound(f"DAG with dag_id: '{dag_id}' not found")
    if dag.current_version is None:
        raise ActionRefused(f"DAG with dag_id: '{dag_id}' has no version to work with")
    return dag, compiled.get_many([(dag.current_version.id, dag.current_version.spec_hash)])[dag.current_version.id]


def graph_of_run(run: Run) -> CompiledDag:
    """The compiled DAG version a run uses."""
    version_id = run.dag_version_id or run.dag.current_version_id
    if version_id is None:
        raise ActionRefused(f"The DAG of run {run.run_id} has no version to work with")
    return compiled.of_version(version_id)


def with_relatives(dag: CompiledDag, task_ids: Iterable[str], *, upstream: bool, downstream: bool) -> set[str]:
    """Tasks with the wanted relatives, and the setups and teardowns that belong to them (a task cannot run again without)."""
    graph = dag.graph
    chosen = {t for t in task_ids if t in graph.tasks}
    out = set(chosen)
    if downstream:
        out |= graph.descendants(*chosen)
    if upstream:
        out |= graph.ancestors(*chosen)
    for task_id in list(out):
        out |= setups_and_teardowns(dag, task_id)
    return out


def setups_and_teardowns(dag: CompiledDag, task_id: str) -> set[str]:
    """What must run with a task: setups in whose scope it lies with their teardowns; a setup brings its teardowns."""
    graph: Graph = dag.graph
    task = graph.tasks[task_id]
    setups = [task_id] if task.is_setup else dag.scope_setups.get(task_id, ())
    out = set(setups)
    for setup in setups:
        out |= {d for d in graph.downstream[setup] if graph.tasks[d].is_teardown}
    return out


def runs_around(run: Run, *, future: bool, past: bool) -> QuerySet[Run]:
    """The run and, if asked, all later or earlier ones of its DAG by logical date."""
    if not future and not past:
        return Run.objects.filter(pk=run.pk)
    if run.logical_date is None:
        raise ActionRefused("Cannot use include_past or include_future with no logical_date(logical_date=null).")
    wanted = Q(pk=run.pk)
    if future:
        wanted |= Q(dag_id=run.dag_id, logical_date__gte=run.logical_date)
    if past:
        wanted |= Q(dag_id=run.dag_id, logical_date__lte=run.logical_date)
    return Run.objects.filter(wanted)


def runs_between(dag_id: str, start: datetime | None, end: datetime | None) -> QuerySet[Run]:
    """Runs of a DAG by logical date, both ends included."""
    runs = Run.objects.filter(dag_id=dag_id)
    if start is not None:
        runs = runs.filter(logical_date__gte=start)
    if end is not None:
        runs = runs.filter(logical_date__lte=end)
    return runs


def instances(
    runs: QuerySet[Run] | Sequence[Run], task_ids: Iterable[str] | None, exact: Sequence[tuple[str, int]] = (), *,
    removed_of: Iterable[str] = (),
) -> QuerySet[TaskInstance]:  # fmt: skip
    """Instances of tasks (all if None) in runs; `exact` adds single map indexes. Removed ones only of the tasks `removed_of`."""
    found = TaskInstance.objects.filter(~Q(state="removed") | Q(task_id__in=list(removed_of)), run__in=runs)
    if task_ids is None and not exact:
        return found
    wanted = Q(task_id__in=list(task_ids or ()))
    for task_id, map_index in exact:
        wanted |= Q(task_id=task_id, map_index=map_index)
    return found.filter(wanted)


def told(found: QuerySet[TaskInstance]) -> QuerySet[TaskInstance]:
    """With what faces show of the run and version, in a stable order. A version's spec is as large as its DAG: joined to every
    instance it would make the answer quadratic."""
    found = found.select_related("run", "dag_version").defer("dag_version__spec", "dag_version__source")
    return found.order_by("run__run_after", "run_id", "id")


def split(choices: Sequence[TaskChoice]) -> tuple[list[str], list[tuple[str, int]]]:
    """Whole tasks, and single map indexes."""
    whole = [c for c in choices if isinstance(c, str)]
    return whole, [(c[0], int(c[1])) for c in choices if not isinstance(c, str)]
