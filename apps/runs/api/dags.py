"""REST: operations on DAGs that are about their runs: how many in which state, and removing a DAG with all of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.db.models import Count

from apps.access import policy
from apps.access.rest.operations import Call, operation
from apps.access.rest.params import Param
from apps.dags.api.lookups import the_dag
from apps.dags.models import Dag
from apps.runs.models import Run
from trackside.core.states import RunState

_ORDER = (RunState.QUEUED, RunState.RUNNING, RunState.SUCCESS, RunState.FAILED)


@operation("GET /dagStats", may=("read", "run"), query=(Param("dag_ids", many=True),), returns={"type": "object"}, filtered=True)
def get_dag_stats(call: Call) -> dict[str, Any]:
    """How many runs each DAG has in each state."""
    dags = Dag.objects.filter(policy.visible_dags(call.user))
    if (wanted := call.query["dag_ids"]) is not None:
        dags = dags.filter(pk__in=wanted)
    names = dict(dags.order_by("pk").values_list("pk", "dag_display_name"))
    counts: dict[str, Counter[str]] = {dag_id: Counter() for dag_id in names}
    rows = Run.objects.filter(dag__in=list(names)).values_list("dag_id", "state").annotate(count=Count("pk"))
    for dag_id, state, count in rows:
        counts[dag_id][state] = count
    stats = [
        {
            "dag_id": dag_id,
            "dag_display_name": name,
            "stats": [{"state": state, "count": counts[dag_id][state]} for state in _ORDER],
        }
        for dag_id, name in names.items()
    ]
    return {"dags": stats, "total_entries": len(stats)}


@operation("DELETE /dags/{dag_id}", may=("delete", "dag"), status=204)
def delete_dag(call: Call, dag_id: str) -> None:
    """Delete a DAG with its runs. 409 while one of its tasks runs. If its file still has it, it comes back without runs."""
    from apps.runs.actions import deletion

    deletion.delete_dag(the_dag(call, dag_id), actor=call.actor)
