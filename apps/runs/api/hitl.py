"""REST: questions that tasks ask people (human in the loop), and the answers."""

from __future__ import annotations

from typing import Annotated, Any

from django.db.models import QuerySet
from pydantic import Field

from apps.access import policy
from apps.access.rest.body import Body
from apps.access.rest.errors import Problem, not_found
from apps.access.rest.fields import anything, flag, moment, nested, text
from apps.access.rest.filters import Custom, Equals, Pattern, Range, States
from apps.access.rest.operations import Call, operation
from apps.access.rest.params import Param
from apps.access.rest.resources import Resource
from apps.runs.api.fields import TI_FIELDS, attach_specs
from apps.runs.api.lookups import the_ti, ti_not_found
from apps.runs.errors import ActionRefused
from apps.runs.models import HITLDetail, TaskInstance
from apps.runs.questions import answering
from trackside.core.states import TaskState

_STATES = [s for s in TaskState if s != TaskState.NONE]


def _rows(call: Call) -> QuerySet[HITLDetail]:
    rows = HITLDetail.objects.filter(policy.visible_dags(call.user, "ti__run__dag"))
    rows = rows.select_related("ti__run__dag", "ti__dag_version__dag", "ti__run__dag_version__dag")
    return rows.defer(
        "ti__run__conf", "ti__dag_version__spec", "ti__dag_version__source", "ti__run__dag_version__spec", "ti__run__dag_version__source"
    )


def _attach(rows: list[Any], call: Call) -> None:
    attach_specs([row.ti for row in rows], call)


def _answered(rows: QuerySet[Any], answered: bool) -> QuerySet[Any]:
    return rows.filter(responded_at__isnull=not answered)


def _by(key: str) -> Custom:
    def apply(rows: QuerySet[Any], values: list[str]) -> QuerySet[Any]:
        return rows.filter(**{f"responded_by__{key}__in": values})

    return Custom(Param(f"responded_by_user_{key}", many=True), apply)


def _has(name: str) -> Custom:
    def apply(rows: QuerySet[Any], wanted: str) -> QuerySet[Any]:
        return rows if wanted == "~" else rows.filter(**{f"{name}__ilike": f"%{wanted}%"})

    return Custom(Param(f"{name}_search", help="Text anywhere, any case; % and _ are wildcards."), apply)


DETAILS = Resource(
    "hitl_details",
    rows=_rows,
    fields=(
        anything("options"),
        text("subject"),
        text("body", null=True),
        anything("defaults"),
        flag("multiple"),
        anything("params"),
        anything("assigned_users"),
        moment("created_at", null=False),
        anything("responded_by_user", "responded_by"),
        moment("responded_at"),
        anything("chosen_options"),
        anything("params_input"),
        flag("response_received", lambda d: d.responded_at is not None),
        nested("task_instance", TI_FIELDS, "ti"),
    ),
    attach=_attach,
    filters=(
        Pattern("dag_id", "ti__dag_id"),
        Equals("task_id", "ti__task_id"),
        Pattern("task_id", "ti__task_id"),
        Equals("map_index", "ti__map_index", int),
        States("state", _STATES, "ti__state", none=TaskState.NONE),
        Custom(Param("response_received", bool), _answered),
        _by("id"),
        _by("name"),
        _has("subject"),
        _has("body"),
        Range("created_at"),
    ),
    orders={
        "ti_id": "try_id",
        "subject": "subject",
        "responded_at": "responded_at",
        "created_at": "created_at",
        "responded_by_user_id": "responded_by__id",
        "responded_by_user_name": "responded_by__name",
        "dag_id": "ti__dag_id",
        "run_id": "ti__run__run_id",
        "task_display_name": "ti__task_display_name",
        "run_after": "ti__run__run_after",
        "rendered_map_index": "ti__rendered_map_index",
        "task_instance_operator": "ti__operator",
        "task_instance_state": "ti__state",
    },
    default_order=("ti_id",),
)


class AnswerBody(Body):
    """An answer."""

    chosen_options: Annotated[list[str], Field(min_length=1)]
    params_input: dict[str, Any] = Field(default_factory=dict)


_TI = "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails"
_INDEX = {"map_index": int}


def _none(ti: TaskInstance) -> Problem:
    found = ti_not_found(ti.dag_id, ti.run.run_id, ti.task_id, ti.map_index)
    return not_found(f"{found.detail}: it has asked no question (Human-in-the-loop detail)")


def _current(call: Call, ti: TaskInstance) -> HITLDetail:
    detail = _rows(call).filter(ti=ti, try_id=ti.try_id).first()
    if detail is None:
        raise _none(ti)
    return detail


@operation("GET /dags/{dag_id}/dagRuns/{dag_run_id}/hitlDetails", may=("read", "hitl"), query=DETAILS.query, returns=DETAILS.list_schema)
def get_hitl_details(call: Call, dag_id: str, dag_run_id: str) -> dict[str, Any]:
    """List questions of a run; `~` for all runs, or all runs of all DAGs."""
    from django.db.models import F

    rows = _rows(call).filter(try_id=F("ti__try_id"))
    if dag_id != "~":
        rows = rows.filter(ti__dag_id=dag_id)
    if dag_run_id != "~":
        rows = rows.filter(ti__run__run_id=dag_run_id)
    return DETAILS.page(call, rows)


@operation(f"GET {_TI}", may=("read", "hitl"), path=_INDEX, returns=DETAILS.schema)
def get_hitl_detail(call: Call, dag_id: str, dag_run_id: str, task_id: str, map_index: int) -> dict[str, Any]:
    """The question of a task instance's current try."""
    return DETAILS.one(_current(call, the_ti(call, dag_id, dag_run_id, task_id, map_index)), call)


@operation(f"GET {_TI}/tries/{{try_number}}", may=("read", "hitl"), path={**_INDEX, "try_number": int}, returns=DETAILS.schema)
def get_hitl_detail_try_detail(call: Call, dag_id: str, dag_run_id: str, task_id: str, map_index: int, try_number: int) -> dict[str, Any]:
    """The question of one try."""
    ti = the_ti(call, dag_id, dag_run_id, task_id, map_index)
    rows = _rows(call).filter(ti=ti, try_number=try_number) if abs(try_number) < 2**31 else HITLDetail.objects.none()
    detail = rows.order_by("-created_at").first()
    if detail is None:
        raise _none(ti)
    return DETAILS.one(detail, call)


@operation(f"PATCH {_TI}", may=("edit", "hitl"), path=_INDEX, body=AnswerBody, returns={"type": "object"})
def update_hitl_detail(call: Call, dag_id: str, dag_run_id: str, task_id: str, map_index: int) -> dict[str, Any]:
    """Answer a question. The first answer counts."""
    detail = _current(call, the_ti(call, dag_id, dag_run_id, task_id, map_index))
    try:
        detail = answering.respond(detail, call.body.chosen_options, call.body.params_input, actor=call.actor)
    except ActionRefused as e:
        raise Problem(e.status, e.detail) from e
    return {
        "responded_by": detail.responded_by,
        "responded_at": detail.responded_at,
        "chosen_options": detail.chosen_options,
        "params_input": detail.params_input,
    }
