"""Task instances across DAGs, newest first, with the reason of each. A fixed number of statements for any number of rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as lazy

from apps.access import policy
from apps.runs.models import Pool, Run, TaskInstance

PAGE = 50
DAYS = {"1": lazy("last day"), "7": lazy("last 7 days"), "30": lazy("last 30 days"), "all": lazy("any time")}
USUAL_DAYS = "7"
COLUMNS = (
    "id", "dag_id", "task_id", "map_index", "rendered_map_index", "state", "reason", "note", "operator", "pool", "pool_slots",
    "start_date", "end_date", "run__run_id", "run__run_after", "run__dag__timezone",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filters:
    """What the person asked for; each empty field filters nothing."""

    state: str = ""
    dag: str = ""
    pool: str = ""
    operator: str = ""
    days: str = USUAL_DAYS
    """Of the runs' date; a key of DAYS."""
    before: int | None = None
    """Only instances older than this one: the key of a page."""

    def __bool__(self) -> bool:
        return bool(self.state or self.dag or self.pool or self.operator or self.days != USUAL_DAYS)


def task_instances(user: Any, wanted: Filters) -> tuple[list[TaskInstance], int | None]:
    """A page of instances with run and zone of the DAG, and the key of the next page. One statement."""
    rows = TaskInstance.objects.filter(policy.visible_dags(user, "run__dag")).select_related("run__dag")
    if wanted.days != "all":
        since = timezone.now() - timedelta(days=int(wanted.days))
        rows = rows.filter(run__in=Run.objects.filter(run_after__gte=since).values("pk"))
    if wanted.state:
        rows = rows.filter(state=wanted.state)
    if wanted.dag:
        rows = rows.filter(Q(dag_id=wanted.dag) if "*" not in wanted.dag else Q(dag_id__icontains=wanted.dag.replace("*", "")))
    if wanted.pool:
        rows = rows.filter(pool=wanted.pool)
    if wanted.operator:
        rows = rows.filter(operator__icontains=wanted.operator)
    if wanted.before is not None:
        rows = rows.filter(pk__lt=wanted.before)
    found = list(rows.only(*COLUMNS).order_by("-id")[: PAGE + 1])
    return found[:PAGE], found[PAGE - 1].pk if len(found) > PAGE else None


def pools() -> list[str]:
    """Names of the pools. One statement."""
    return list(Pool.objects.order_by("name").values_list("name", flat=True))
