"""Bulk calls (PATCH on a collection): `{"actions": [{"action": "create", "entities": […], …}]}` → what worked, what did not.

One resource gives a `BulkKind` (most by `bulk_by_name`): how its objects are named and how one is created, changed and
deleted. Per action the whole list works or, with `fail` (the default), one name that is in the way stops all of it with one
error; `skip` leaves such names out, `overwrite` changes what exists. The answer is 200 with the errors inside.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar

from django.db import transaction
from django.db.models import QuerySet
from pydantic import Discriminator, Tag

from apps.access.rest.body import Body
from apps.access.rest.errors import Problem, problem_of

T = TypeVar("T")


class BulkCreate(Body, Generic[T]):
    """Make these objects."""

    action: Literal["create"]
    entities: list[T]
    action_on_existence: Literal["fail", "skip", "overwrite"] = "fail"


class BulkUpdate(Body, Generic[T]):
    """Change these objects."""

    action: Literal["update"]
    entities: list[T]
    update_mask: list[str] | None = None
    action_on_non_existence: Literal["fail", "skip"] = "fail"


class BulkDelete(Body, Generic[T]):
    """Remove these objects: their names, or objects that carry the name."""

    action: Literal["delete"]
    entities: list[str | T]
    action_on_non_existence: Literal["fail", "skip"] = "fail"


def _tag(value: Any) -> Any:
    return value.get("action") if isinstance(value, dict) else getattr(value, "action", None)


class BulkBody(Body, Generic[T]):
    """A list of actions, done in the order create, update, delete as they come."""

    actions: list[
        Annotated[
            Annotated[BulkCreate[T], Tag("create")] | Annotated[BulkUpdate[T], Tag("update")] | Annotated[BulkDelete[T], Tag("delete")],
            Discriminator(_tag),
        ]
    ]


@dataclass
class BulkKind:
    """How one resource does bulk calls. `create` and `update` get the entity, `update` also the mask."""

    noun: str
    name_of: Callable[[Any], str]
    """Name of an entity: an object of the body, or the text that a delete names it by."""
    existing: Callable[[Collection[Any]], set[str]]
    """Names of those of these entities that exist."""
    create: Callable[[Any], object]
    update: Callable[[Any, list[str] | None], object]
    delete: Callable[[Any], object]
    sees_own_work: bool = False
    """Whether an action finds what an earlier action of the same call made (in Airflow this differs by resource)."""


def bulk_by_name(
    noun: str,
    field: str,
    rows: QuerySet[Any],
    column: str,
    *,
    create: Callable[[str, Any], object],
    update: Callable[[str, Any, list[str] | None], object],
    delete: Callable[[str], object],
    sees_own_work: bool = False,
) -> BulkKind:
    """A kind of objects that one field of the body and one column of the table name; the three calls get that name first."""

    def name_of(entity: Any) -> str:
        return entity if isinstance(entity, str) else getattr(entity, field)

    def existing(entities: Collection[Any]) -> set[str]:
        return set(rows.filter(**{f"{column}__in": {name_of(e) for e in entities}}).values_list(column, flat=True))

    return BulkKind(
        noun,
        name_of=name_of,
        existing=existing,
        create=lambda entity: create(name_of(entity), entity),
        update=lambda entity, mask: update(name_of(entity), entity, mask),
        delete=lambda entity: delete(name_of(entity)),
        sees_own_work=sees_own_work,
    )


class _Stopped(Exception):
    """An action ends with this one error."""

    def __init__(self, status: int, text: str):
        self.status, self.text = status, text
        super().__init__(text)


def run_bulk(kind: BulkKind, body: BulkBody[Any]) -> dict[str, Any]:
    """Do all actions; the answer of the call."""
    out: dict[str, Any] = {"create": None, "update": None, "delete": None}
    entities = [e for action in body.actions for e in action.entities]
    before = kind.existing(entities)
    for action in body.actions:
        part = out[action.action] = out[action.action] or {"success": [], "errors": []}
        known = kind.existing(entities) if kind.sees_own_work else before
        try:
            with transaction.atomic():
                part["success"] += list(_do(kind, action, known))
        except _Stopped as e:
            part["errors"].append({"error": e.text, "status_code": e.status})
        except Exception as e:
            problem = problem_of(e)
            if problem.status >= 500:
                raise
            part["errors"].append({"error": str(problem.detail), "status_code": problem.status})
    return out


def _do(kind: BulkKind, action: Any, known: set[str]) -> Iterable[str]:
    entities = {kind.name_of(e): e for e in action.entities}
    if action.action == "create":
        taken = known & entities.keys()
        if taken and action.action_on_existence == "fail":
            raise _Stopped(409, f"The {kind.noun} with these names already exist: {_listed(taken)}.")
        for name, entity in entities.items():
            if name not in taken:
                kind.create(entity)
            elif action.action_on_existence == "overwrite":
                kind.update(entity, None)
            else:
                continue
            yield name
        return
    missing = entities.keys() - known
    if missing and action.action_on_non_existence == "fail":
        raise _Stopped(404, f"The {kind.noun} with these names were not found: {_listed(missing)}.")
    for name, entity in entities.items():
        if name in missing:
            continue
        if action.action == "update":
            kind.update(entity, action.update_mask)
        else:
            kind.delete(entity)
        yield name


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


@dataclass
class RowBulk:
    """Bulk calls on rows that are never made this way (runs, task instances); one entity may mean several rows."""

    noun: str
    refusal: str
    """What a `create` is answered."""
    key: Callable[[Any], Hashable]
    """What an entity means; raises Problem if it does not say."""
    find: Callable[[Collection[Any]], Mapping[Any, Sequence[Any]]]
    """Key → its rows; none for one that means nothing."""
    label: Callable[[Any], str]
    """Name of a row in the answer."""
    update: Callable[[Any, Any, list[str] | None], object]
    """Gets row, entity, mask."""
    delete: Callable[[Any], object]


def run_row_bulk(kind: RowBulk, body: BulkBody[Any]) -> dict[str, Any]:
    """Do all actions; the answer of the call. What worked stays, also when a later entity fails."""
    out: dict[str, Any] = {"create": None, "update": None, "delete": None}
    for action in body.actions:
        part = out[action.action] = out[action.action] or {"success": [], "errors": []}
        if action.action == "create":
            part["errors"].append({"error": kind.refusal, "status_code": 405})
        else:
            _do_rows(kind, action, part)
    return out


def _do_rows(kind: RowBulk, action: Any, part: dict[str, Any]) -> None:
    entities: dict[Any, Any] = {}
    for entity in action.entities:
        try:
            entities[kind.key(entity)] = entity
        except Problem as e:
            part["errors"].append({"error": str(e.detail), "status_code": e.status})
    found = kind.find(list(entities)) if entities else {}
    missing = [key for key in entities if not found.get(key)]
    if missing and action.action_on_non_existence == "fail":
        part["errors"].append({"error": f"The {kind.noun} with these identifiers were not found: {missing}", "status_code": 404})
        return
    for key, entity in entities.items():
        for row in found.get(key, ()):
            name = kind.label(row)
            try:
                with transaction.atomic():
                    if action.action == "update":
                        kind.update(row, entity, action.update_mask)
                    else:
                        kind.delete(row)
            except Exception as e:
                problem = problem_of(e)
                if problem.status >= 500:
                    raise
                part["errors"].append({"error": str(problem.detail), "status_code": problem.status})
                if action.action == "update":
                    return
            else:
                part["success"].append(name)


def chosen_id(path_id: str, body_id: str | None, what: str) -> str:
    """The id an entity means: its own, or the one in the path. Raises Problem 400 if both leave it open (`~`)."""
    chosen = body_id or path_id
    if chosen == "~":
        raise Problem(400, f"The path says ~: name the {what} of each object in the body.")
    return chosen


BULK_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        part: {
            "anyOf": [
                {
                    "type": "object",
                    "properties": {
                        "success": {"type": "array", "items": {"type": "string"}},
                        "errors": {"type": "array", "items": {"type": "object"}},
                    },
                },
                {"type": "null"},
            ]
        }
        for part in ("create", "update", "delete")
    },
}
"""JSON schema of the answer."""
