"""REST: pools, with how many of their slots are in use."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

from django.db.models import Sum
from pydantic import Field as Constraint

from apps.access.rest.body import Body, SmallInt
from apps.access.rest.bulk import BULK_SCHEMA, BulkBody, bulk_by_name, run_bulk
from apps.access.rest.errors import bad_request, flaw, invalid, not_found
from apps.access.rest.fields import flag, text, whole
from apps.access.rest.filters import Pattern
from apps.access.rest.operations import Call, operation
from apps.access.rest.owned import Owned
from apps.access.rest.params import Param
from apps.access.rest.resources import Resource
from apps.runs.actions import pools as actions
from apps.runs.models import Pool, TaskInstance
from trackside.core.states import TaskState

_COUNTED = {
    TaskState.RUNNING: "running",
    TaskState.RESTARTING: "running",
    TaskState.QUEUED: "queued",
    TaskState.SCHEDULED: "scheduled",
    TaskState.DEFERRED: "deferred",
}
"""As admission counts: who waits for a person occupies nothing."""


def _attach_usage(pools: list[Pool], call: Call) -> None:
    """Count slots by pool and state in one query, from live rows."""
    rows = TaskInstance.objects.filter(pool__in=[p.name for p in pools], state__in=[str(s) for s in _COUNTED])
    used: dict[str, Counter[str]] = {p.name: Counter() for p in pools}
    for name, state, slots in rows.values_list("pool", "state").annotate(slots=Sum("pool_slots")):
        used[name][_COUNTED[TaskState(state)]] += slots
    for pool in pools:
        pool.usage = used[pool.name]  # type: ignore[attr-defined]


def _occupied(pool: Any) -> int:
    deferred = pool.usage["deferred"] if pool.include_deferred else 0
    return int(pool.usage["running"] + pool.usage["queued"] + deferred)


def _open(pool: Any) -> int:
    """-1: no limit."""
    return -1 if pool.slots == -1 else pool.slots - _occupied(pool)


OWNED = Owned("pool", Pool, "name", "The Pool with name: `{}` was not found")
POOLS = Resource(
    "pools",
    rows=OWNED.rows,
    fields=(
        text("name"),
        whole("slots"),
        text("description", null=True),
        flag("include_deferred"),
        whole("occupied_slots", _occupied),
        whole("running_slots", lambda p: p.usage["running"]),
        whole("queued_slots", lambda p: p.usage["queued"]),
        whole("scheduled_slots", lambda p: p.usage["scheduled"]),
        whole("open_slots", _open),
        whole("deferred_slots", lambda p: p.usage["deferred"]),
        text("team_name", null=True),
    ),
    filters=(Pattern("pool_name", "name"),),
    attach=_attach_usage,
    orders={"id": "id", "name": "name", "pool": "name"},
    default_order=("id",),
)

_Slots = Annotated[SmallInt, Constraint(ge=-1)]
_Name = Annotated[str, Constraint(max_length=256, min_length=1)]
_Team = Annotated[str, Constraint(max_length=50)]


class PoolBody(Body):
    """A pool."""

    name: _Name
    slots: _Slots
    description: str | None = None
    include_deferred: bool = False
    team_name: _Team | None = None

    def values(self, mask: list[str] | None = None) -> dict[str, Any]:
        """Column values without the name, limited to the mask."""
        return {n: v for n, v in self.model_dump(exclude={"name"}).items() if mask is None or n in mask}


class PoolPatchBody(Body):
    """Changes of a pool; `pool` is its (new) name."""

    pool: _Name | None = None
    slots: _Slots | None = None
    description: str | None = None
    include_deferred: bool | None = None
    team_name: _Team | None = None


@operation("GET /pools", may=("read", "pool"), query=POOLS.query, returns=POOLS.list_schema)
def get_pools(call: Call) -> dict[str, Any]:
    """List pools."""
    return POOLS.page(call)


@operation("POST /pools", may=("create", "pool"), body=PoolBody, status=201, returns=POOLS.schema)
def post_pool(call: Call) -> dict[str, Any]:
    """Create a pool."""
    with OWNED.held(call, "create", call.body.name, values := call.body.values(), new=True):
        return POOLS.one(actions.create(call.body.name, values, actor=call.actor), call)


@operation("PATCH /pools", may=("edit", "pool"), body=BulkBody[PoolBody], returns=BULK_SCHEMA)
def bulk_pools(call: Call) -> dict[str, Any]:
    """Create, change and delete pools in one call."""
    actor = call.actor

    def create(name: str, body: PoolBody) -> None:
        with OWNED.held(call, "create", name, values := body.values(), new=True):
            actions.create(name, values, actor=actor)

    def update(name: str, body: PoolBody, mask: list[str] | None) -> None:
        with OWNED.held(call, "edit", name, values := body.values(mask)):
            actions.update(name, values, actor=actor)

    def delete(name: str) -> None:
        with OWNED.held(call, "delete", name):
            actions.delete(name, actor=actor)

    kind = bulk_by_name("pools", "name", OWNED.rows(call), "name", create=create, update=update, delete=delete)
    return run_bulk(kind, call.body)


@operation("GET /pools/{pool_name:path}", may=("read", "pool"), returns=POOLS.schema)
def get_pool(call: Call, pool_name: str) -> dict[str, Any]:
    """One pool."""
    pool = OWNED.rows(call).filter(name=pool_name).first()
    if pool is None:
        raise not_found(OWNED.missing.format(pool_name))
    return POOLS.one(pool, call)


@operation(
    "PATCH /pools/{pool_name:path}",
    may=("edit", "pool"),
    query=(Param("update_mask", many=True),),
    body=PoolPatchBody,
    returns=POOLS.schema,
)
def patch_pool(call: Call, pool_name: str) -> dict[str, Any]:
    """Change a pool. Name, slots and include_deferred have to be sent, as in Airflow; the mask says what of it counts."""
    body, mask = call.body, call.query["update_mask"]
    if pool_name == actions.DEFAULT_POOL and not (mask and set(mask) <= {"slots", "include_deferred"}):
        raise bad_request("Only slots and include_deferred can be modified on Default Pool")
    if not OWNED.rows(call).filter(name=pool_name).exists():
        raise not_found(OWNED.missing.format(pool_name))
    missing = [n for n in ("pool", "slots", "include_deferred") if getattr(body, n) is None]
    if missing and pool_name != actions.DEFAULT_POOL:
        raise invalid(*(flaw((n,), "Input should be given", "missing") for n in missing))
    values = {("name" if n == "pool" else n): getattr(body, n) for n in body.model_fields_set if not mask or n in mask}
    values = {n: v for n, v in values.items() if v is not None or n in ("description", "team_name")}
    with OWNED.held(call, "edit", pool_name, values):
        return POOLS.one(actions.update(pool_name, values, actor=call.actor), call)


@operation("DELETE /pools/{pool_name:path}", may=("delete", "pool"), status=204)
def delete_pool(call: Call, pool_name: str) -> None:
    """Delete a pool; not the default one."""
    with OWNED.held(call, "delete", pool_name):
        actions.delete(pool_name, actor=call.actor)
