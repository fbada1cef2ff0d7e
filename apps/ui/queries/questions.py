"""What tasks ask people: the open questions a person may see, and those answered before."""

from __future__ import annotations

from typing import Any

from django.db.models import F, QuerySet

from apps.access import policy
from apps.runs.models import HITLDetail, TaskInstance
from trackside.core.states import TaskState

PAGE = 50


def _visible(user: Any) -> QuerySet[HITLDetail]:
    return (
        HITLDetail.objects.filter(policy.visible_dags(user, "ti__run__dag"))
        .select_related("ti__run__dag")
        .only(
            "subject", "created_at", "responded_at", "responded_by", "chosen_options", "assigned_users", "options", "try_number", "try_id",
            "ti__task_id", "ti__map_index", "ti__state", "ti__next_at", "ti__dag_id", "ti__rendered_map_index",
            "ti__run__run_id", "ti__run__run_after", "ti__run__dag__dag_id", "ti__run__dag__timezone",
        )
    )  # fmt: skip


def _waiting(rows: QuerySet[HITLDetail]) -> QuerySet[HITLDetail]:
    """A question is open while its try is the one that waits."""
    return rows.filter(responded_at=None, ti__state=TaskState.AWAITING_INPUT, ti__try_id=F("try_id"))


def waiting(user: Any, limit: int = PAGE) -> list[HITLDetail]:
    """Open questions, the one whose time runs out first on top. One statement."""
    return list(_waiting(_visible(user)).order_by(F("ti__next_at").asc(nulls_last=True), "created_at", "id")[:limit])


def answered(user: Any, limit: int = PAGE) -> list[HITLDetail]:
    """Answers, newest first. One statement."""
    return list(_visible(user).exclude(responded_at=None).order_by("-responded_at", "-id")[:limit])


def count(user: Any) -> int:
    """How many wait. One statement."""
    return _waiting(HITLDetail.objects.filter(policy.visible_dags(user, "ti__run__dag"))).count()


def of(ti: TaskInstance) -> HITLDetail | None:
    """The question of the instance's present try, open or answered."""
    return HITLDetail.objects.filter(ti=ti, try_id=ti.try_id).select_related("ti__run").first()
