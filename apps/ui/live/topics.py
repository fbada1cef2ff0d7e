"""Topics of the stream: their names, who may hear them, and what of the event table belongs to each.

`dags` (all DAGs, short), `dag:<dag_id>`, `run:<pk>`, `task:<pk>`, `log:<try id>:<offset>`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from apps.access import policy
from apps.runs.models import Run, TaskInstance, Try

_NUMBER = re.compile(r"[0-9]{1,18}")
MAX_NAME = 400


class BadTopic(ValueError):
    """The text names no topic."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One parsed topic. `key` is what the hub groups events by (logs are tailed, not grouped)."""

    kind: str
    key: str
    pk: int = 0
    dag_id: str = ""
    try_id: UUID | None = None
    offset: int = 0


def parse(name: str) -> Topic:
    """Read a topic's name; raises BadTopic."""
    kind, _, rest = name[:MAX_NAME].partition(":")
    if kind == "dags" and not rest:
        return Topic("dags", "dags")
    if kind == "dag" and rest:
        return Topic("dag", f"dag:{rest}", dag_id=rest)
    if kind in ("run", "task") and _NUMBER.fullmatch(rest):
        return Topic(kind, f"{kind}:{int(rest)}", pk=int(rest))
    if kind == "log":
        try_id, _, offset = rest.partition(":")
        try:
            if _NUMBER.fullmatch(offset):
                return Topic("log", f"log:{UUID(try_id)}", try_id=UUID(try_id), offset=int(offset))
        except ValueError:
            pass
    raise BadTopic(f"no such topic: {name[:80]}")


def dag_of(topic: Topic) -> str | None:
    """The DAG that the topic tells about; None when the thing does not exist. One statement at most."""
    if topic.kind == "dag":
        return topic.dag_id
    if topic.kind == "run":
        return Run.objects.filter(pk=topic.pk).values_list("dag_id", flat=True).first()
    if topic.kind == "task":
        return TaskInstance.objects.filter(pk=topic.pk).values_list("dag_id", flat=True).first()
    assert topic.try_id is not None
    return Try.objects.filter(pk=topic.try_id).values_list("ti__dag_id", flat=True).first()


def may_hear(user: Any, topic: Topic, dag_id: str | None) -> bool:
    """Whether this person may hear the topic. The list of all DAGs is for those who may read all of them."""
    if not user.is_authenticated or not user.is_active:
        return False
    if topic.kind == "dags":
        return policy.allowed(user, "read", "dag")
    if dag_id is None:
        return False
    return policy.allowed(user, "read", "log" if topic.kind == "log" else "dag", dag_id=dag_id)


def of_event(event: list[Any]) -> list[tuple[str, list[Any]]]:
    """The topics of one event row and what each of them is told.

    `event`: [xid, id, kind, verb, dag id, run pk, run id, state, task instances, at]. The topic of a task hears only
    about its own instance; the list of DAGs hears which DAG has news, not which tasks.
    """
    xid, pk, kind, verb, dag_id, run_pk, run_id, state, tis, at = event
    told: list[tuple[str, list[Any]]] = [("dags", [xid, pk, kind, verb, dag_id, run_pk, run_id, state, len(tis), at])]
    if dag_id:
        told.append((f"dag:{dag_id}", event))
    if run_pk is not None:
        told.append((f"run:{run_pk}", event))
    told += [(f"task:{ti[0]}", [xid, pk, kind, verb, dag_id, run_pk, run_id, state, [ti], at]) for ti in tis]
    return told
