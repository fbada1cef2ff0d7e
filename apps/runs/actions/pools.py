"""Create, change and delete pools; a change of slots lets admission look again. Read them with a query."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db import IntegrityError, transaction

from apps.access import audit
from apps.runs import wake
from apps.runs.errors import ActionRefused, Conflict, NotFound
from apps.runs.models import Pool
from trackside.core import idtext

DEFAULT_POOL = "default_pool"
FIELDS = ("name", "slots", "description", "include_deferred", "team_name")
_OF_DEFAULT = frozenset({"slots", "include_deferred"})


def _not_found(name: str) -> NotFound:
    return NotFound(f"The Pool with name: `{name}` was not found")


def _taken(name: str) -> Conflict:
    message = f"Pool with name: `{name}` already exists"
    return Conflict(
        {"reason": "Unique constraint violation", "statement": "hidden", "orig_error": "hidden", "message": message},
        field="name",
    )


def _check(name: str) -> None:
    if why := idtext.flaw(name, "name of the pool"):
        raise ActionRefused(why, field="name")


def create(name: str, values: dict[str, Any], *, actor: audit.Actor) -> Pool:
    """A new pool. `values`: some of FIELDS but the name. Raises Conflict, ActionRefused (the name)."""
    _check(name)
    with transaction.atomic():
        try:
            with transaction.atomic():
                pool = Pool.objects.create(name=name, **values)
        except IntegrityError as e:
            raise _taken(name) from e
        audit.record("post_pool", actor, object_type="pool", object_id=name, extra={"after": values})
        wake.send_on_commit(wake.SCHEDULER)
    return pool


def update(name: str, values: dict[str, Any], *, actor: audit.Actor) -> Pool:
    """Change the given fields; `name` in `values` renames it. Raises NotFound, Conflict, ActionRefused (the default pool)."""
    with transaction.atomic():
        pool = Pool.objects.select_for_update().filter(name=name).first()
        if pool is None:
            raise _not_found(name)
        if name == DEFAULT_POOL and any(values[k] != getattr(pool, k) for k in values.keys() - _OF_DEFAULT):
            raise ActionRefused("Only slots and include_deferred can be changed on the default pool", field="name")
        if values.get("name", name) != name:
            _check(values["name"])
        before = {k: getattr(pool, k) for k in values}
        for key, value in values.items():
            setattr(pool, key, value)
        try:
            with transaction.atomic():
                pool.save()
        except IntegrityError as e:
            raise _taken(values.get("name", name)) from e
        audit.record("patch_pool", actor, object_type="pool", object_id=name, extra={"before": before, "after": values})
        wake.send_on_commit(wake.SCHEDULER)
    return pool


def delete(name: str, *, actor: audit.Actor) -> None:
    """Remove a pool; tasks that name it wait, with that reason. Raises NotFound, ActionRefused (the default pool)."""
    if name == DEFAULT_POOL:
        raise ActionRefused("Default Pool can't be deleted", field="name")
    with transaction.atomic():
        pool = Pool.objects.select_for_update().filter(name=name).first()
        if pool is None:
            raise _not_found(name)
        pool.delete()
        before = {field: getattr(pool, field) for field in FIELDS}
        audit.record("delete_pool", actor, object_type="pool", object_id=name, extra={"before": before})
        wake.send_on_commit(wake.SCHEDULER)


def give_to_team(team: str, names: Collection[str], *, actor: audit.Actor) -> None:
    """These pools and no others are the team's. Raises NotFound, Conflict (another team's), ActionRefused (the default pool)."""
    with transaction.atomic():
        for name in names:
            owner = Pool.objects.filter(name=name).values_list("team_name", flat=True).first()
            if owner and owner != team:
                raise Conflict(f"Pool {name} belongs to team {owner}. Take it from that team first.", field="pools")
            if owner != team:
                update(name, {"team_name": team}, actor=actor)
        for pool in Pool.objects.filter(team_name=team).exclude(name__in=names).order_by("name"):
            update(pool.name, {"team_name": None}, actor=actor)
