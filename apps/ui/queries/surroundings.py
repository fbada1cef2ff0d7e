"""What stands around a DAG in its graph: assets it reads, writes and waits for, DAGs that its tasks start or wait for.

Cut out of the spec of the version that is drawn, so that an old version shows its own surroundings; the database only says
where a name leads. Who starts this DAG or waits for it stands in the code of other DAGs: `callers` finds them as they are now.
Next door: `structure` has the DAG itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import F, Func, JSONField, Q, Value
from django.urls import reverse
from django.utils.translation import gettext_lazy as lazy

from apps.access import policy
from apps.dags.models import Asset, Dag, DagVersion
from trackside.core.spec import DagSpec, TaskSpec

READS, WRITES = "reads", "writes"
STARTS, AWAITS = "starts", "awaits"
"""What another DAG does with this one."""
CALLERS = 50
"""So many other DAGs are drawn at most."""
CALLS = {"trigger_dag_id": WRITES, "external_dag_id": READS}
"""Arguments of operators that name another DAG, and on which side of the task that stands."""
WORDS = {
    ("dag", WRITES): lazy("DAG started from here"),
    ("dag", READS): lazy("DAG waited for"),
    ("asset", WRITES): lazy("asset written"),
    ("asset", READS): lazy("asset read"),
    ("asset", ""): lazy("asset of the schedule"),
    ("dag", STARTS): lazy("DAG that starts this one"),
    ("dag", AWAITS): lazy("DAG that waits for this one"),
}
AFTER = frozenset({WRITES, AWAITS})
"""Sides that are drawn behind the task."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One thing outside of the DAG, as one task (or the DAG as a whole, with an empty `task_id`) names it."""

    kind: str
    """dag or asset"""
    side: str
    """reads: it comes before the task; writes: after it; empty: the schedule waits for it; starts, awaits: another DAG does so."""
    task_id: str
    name: str
    uri: str = ""

    @property
    def id(self) -> str:
        """Of its node: no task id has a colon, and what is read and written is drawn twice, so that no circle comes about."""
        return f"{'after' if self.side in AFTER else 'before'}:{self.kind}:{self.name or self.uri}"


def of_spec(spec: DagSpec) -> tuple[Neighbour, ...]:
    """All neighbours in the order of the file. A name that is a template is known at run time only and left out."""
    found = [Neighbour("asset", "", "", a.get("name") or "", a.get("uri") or "") for a in _condition(spec.asset_expression)]
    for task in spec.tasks:
        found += _of_task(task)
    return tuple(dict.fromkeys(n for n in found if n.name or n.uri))


def _of_task(task: TaskSpec) -> Iterator[Neighbour]:
    for side, items in ((READS, task.inlets), (WRITES, task.outlets)):
        for item in items:
            if item.get("type") in ("asset", "asset_ref"):
                yield Neighbour("asset", side, task.task_id, item.get("name") or "", item.get("uri") or "")
    for argument, side in CALLS.items():
        name = task.attributes.get(argument)
        if isinstance(name, str) and "{{" not in name:
            yield Neighbour("dag", side, task.task_id, name)


def _condition(node: Any) -> Iterator[dict[str, Any]]:
    """The assets in a condition, however deep."""
    if isinstance(node, list):
        for item in node:
            yield from _condition(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in ("asset", "asset_ref") and isinstance(value, dict):
                yield value
            else:
                yield from _condition(value)


class _NamedDags(Func):
    """Ids of the DAGs that tasks of a spec start or wait for: the very expression of the index `dags_dagversion_names_dags`."""

    template = (
        "(jsonb_path_query_array(%(expressions)s, '$.tasks[*].attributes.trigger_dag_id')"
        " || jsonb_path_query_array(%(expressions)s, '$.tasks[*].attributes.external_dag_id'))"
    )
    output_field = JSONField()


class _Calls(Func):
    """Attributes of the tasks that name a DAG (`$dag` in the second argument)."""

    function = "jsonb_path_query_array"
    template = "%(function)s(%(expressions)s::jsonb)"
    output_field = JSONField()

    def __init__(self, dag_id: str) -> None:
        path = "$.tasks[*].attributes ? (@.trigger_dag_id == $dag || @.external_dag_id == $dag)"
        super().__init__(F("current_version__spec"), _Path(Value(path)), Value(json.dumps({"dag": dag_id})))


class _Path(Func):
    template = "(%(expressions)s)::jsonpath"


def callers(user: Any, dag_id: str, task_ids: Iterable[str]) -> tuple[Neighbour, ...]:
    """Other DAGs, as they are now, whose tasks start this one or wait for it; only those the person may read. One statement."""
    naming = DagVersion.objects.annotate(named=_NamedDags(F("spec"))).filter(Q(("named__contains", [dag_id]))).values("pk")
    dags = Dag.objects.filter(policy.visible_dags(user), is_stale=False, current_version__in=naming).exclude(pk=dag_id)
    known, found = set(task_ids), []
    for name, calls in dags.order_by("pk").values_list("pk", _Calls(dag_id))[:CALLERS]:
        for attributes in calls:
            if attributes.get("trigger_dag_id") == dag_id:
                found.append(Neighbour("dag", STARTS, "", name))
            if attributes.get("external_dag_id") == dag_id:
                awaited = [t for t in _awaited(attributes) if t in known]
                found += [Neighbour("dag", AWAITS, task_id, name) for task_id in awaited or [""]]
    return tuple(dict.fromkeys(found))


def _awaited(attributes: dict[str, Any]) -> list[str]:
    """Tasks that a sensor waits for; none (the whole run, or a group): what stands at the end."""
    many = attributes.get("external_task_ids")
    return [t for t in [attributes.get("external_task_id"), *(many if isinstance(many, list) else [])] if isinstance(t, str)]


def drawn(user: Any, around: tuple[Neighbour, ...], roots: list[str], leaves: list[str]) -> tuple[list[dict[str, Any]], list[list[str]]]:
    """(nodes, edges) for the graph, two statements. What the person may not see has its name (it is in the DAG's own code) and no link."""
    if not around:
        return [], []
    names = {n.name for n in around if n.kind == "dag"}
    seen = set(Dag.objects.filter(policy.visible_dags(user), pk__in=names).values_list("dag_id", flat=True)) if names else set()
    wanted, uris = {n.name for n in around if n.kind == "asset"}, {n.uri for n in around if n.uri}
    rows = Asset.objects.filter(Q(name__in=wanted) | Q(uri__in=uris), is_active=True) if wanted else Asset.objects.none()
    by_name: dict[str, int] = {}
    for pk, name, uri in rows.values_list("pk", "name", "uri"):
        by_name[name] = by_name[uri] = pk
    nodes: dict[str, dict[str, Any]] = {}
    edges: dict[tuple[str, str], None] = {}
    for n in around:
        href = ""
        if n.kind == "dag" and n.name in seen:
            href = reverse("dag", args=[n.name])
        elif n.kind == "asset" and (n.name or n.uri) in by_name:
            href = reverse("asset", args=[by_name[n.name or n.uri]])
        told = str(WORDS[n.kind, n.side])
        known = nodes[n.id]["op"] if n.id in nodes else told
        nodes[n.id] = {
            "id": n.id,
            "label": n.name or n.uri,
            "parent": None,
            "group": False,
            "mapped": False,
            "op": known if told in known else f"{known}, {told}",
            "count": 0,
            "state": None,
            "took": "",
            "reason": "",
            "kind": n.kind,
            "href": href,
        }
        if n.side in AFTER:
            edges.update({(task_id, n.id): None for task_id in ([n.task_id] if n.task_id else leaves)})
        else:
            edges.update({(n.id, task_id): None for task_id in ([n.task_id] if n.task_id else roots)})
    return list(nodes.values()), [[a, b, ""] for a, b in edges]
