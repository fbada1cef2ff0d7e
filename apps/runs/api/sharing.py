"""One object for all rows of a page that point to the same run, DAG or version, instead of a join that repeats it in every row.

A page of 100 task instances of one run needs one run, one DAG and one version. `fields.py` calls this for every page;
rows that were read with their relations (`select_related`) keep them and cost no statement.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from apps.dags.models import Dag, DagVersion
from apps.runs.models import Run, TaskInstance

_RUN_DAG: Any = Run._meta.get_field("dag")
_RUN_VERSION: Any = Run._meta.get_field("dag_version")
_TI_RUN: Any = TaskInstance._meta.get_field("run")
_TI_VERSION: Any = TaskInstance._meta.get_field("dag_version")


def give_dags(runs: Iterable[Run]) -> None:
    """Give runs their DAG, with its name for people; one statement for all that lack it."""
    lacking = [r for r in runs if not _RUN_DAG.is_cached(r)]
    found = Dag.objects.only("dag_display_name").in_bulk({r.dag_id for r in lacking}) if lacking else {}
    for run in lacking:
        # deleted between two statements: the page shows what it read before
        run.dag = found.get(run.dag_id) or Dag(dag_id=run.dag_id, dag_display_name=run.dag_id)


def versions(pks: Iterable[UUID], dags: Iterable[Dag]) -> dict[UUID, DagVersion]:
    """Versions by key with their DAG, which is one of `dags`, without the large columns; one statement."""
    wanted = set(pks)
    by_id = {dag.dag_id: dag for dag in dags}
    found = DagVersion.objects.defer("spec", "source").in_bulk(wanted) if wanted else {}
    for version in found.values():
        if version.dag_id in by_id:
            version.dag = by_id[version.dag_id]
    return found


def give_runs_and_versions(tis: list[Any]) -> None:
    """Give task instances their run (with DAG and version) and their version; three statements for all that lack them.

    Rows that are no instances (past tries) have theirs. Instances of a run that was deleted meanwhile go from the list.
    """
    lacking = [t for t in tis if isinstance(t, TaskInstance) and not _TI_RUN.is_cached(t)]
    if not lacking:
        return
    runs = Run.objects.defer("conf").in_bulk({t.run_id for t in lacking})
    give_dags(runs.values())
    wanted = {t.dag_version_id for t in lacking} | {r.dag_version_id for r in runs.values()}
    known: dict[Any, DagVersion] = dict(versions({v for v in wanted if v is not None}, [r.dag for r in runs.values()]))
    for run in runs.values():
        _RUN_VERSION.set_cached_value(run, known.get(run.dag_version_id))
    for ti in lacking:
        if ti.run_id not in runs:
            tis.remove(ti)
            continue
        ti.run = runs[ti.run_id]
        _TI_VERSION.set_cached_value(ti, known.get(ti.dag_version_id))
