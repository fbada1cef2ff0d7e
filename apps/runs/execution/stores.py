"""State stores as task code reaches them with its try's token: its own task instance's, and those of assets.

`for_asset` is also what watchers use (the triggerer calls it). An asset is named by name or URI and must be active.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Q

from apps.dags.models import Asset
from apps.runs import sql
from apps.runs.errors import ActionRefused
from apps.runs.execution import checking
from apps.runs.execution.data import caller
from apps.runs.execution.refusal import Refused
from apps.runs.stores import store
from trackside.runner.jsonio import exact_loads


def task(method: str) -> Any:
    """The handler of a method on /state/task: the own task instance's values. DELETE without a key forgets all."""

    def handle(*, token: str, body: Any, query: dict[str, str]) -> dict[str, Any]:
        me = caller(token)
        scope, key = store.Scope(me.run_pk, me.task_id, me.map_index), query.get("key")
        if method == "DELETE":
            store.clear_task(scope) if key is None else store.delete_task(scope, key)
            return {}
        if not key:
            raise Refused(422, "Name the key.")
        if method == "PUT":
            return _put_task(scope, key, body)
        found = store.get_task(scope, key)
        if found is None:
            raise Refused(404, f"Task state store key {key!r} not found")
        return {"key": key, "value": exact_loads(found.value)}

    return handle


def _put_task(scope: store.Scope, key: str, body: dict[str, Any]) -> dict[str, Any]:
    """{"value", "expires_at": moment, null (never) or "default"}."""
    wish = body.get("expires_at", store.DEFAULT)
    expires_at = wish if wish in (None, store.DEFAULT) else checking.moment(wish, "expires_at")
    try:
        store.set_task(scope, key, body.get("value"), expires_at, sql.now())
    except ActionRefused as e:
        raise Refused(422, str(e.detail)) from e
    return {}


def asset(method: str) -> Any:
    """The handler of a method on /state/asset."""

    def handle(*, token: str, body: Any, query: dict[str, str]) -> dict[str, Any]:
        me = caller(token)
        by = store.Writer("task", me.dag_id, me.run_id, me.task_id, me.map_index)
        return for_asset(method, query, body, by)

    return handle


def for_asset(method: str, query: dict[str, Any], body: Any, by: store.Writer) -> dict[str, Any]:
    """GET, PUT or DELETE of ?name= or ?uri= and ?key=; DELETE without a key forgets all."""
    pk = _asset(query)
    key = query.get("key")
    if method == "DELETE" and key is None:
        store.clear_asset(pk)
        return {}
    if not key:
        raise Refused(422, "Name the key.")
    if method == "DELETE":
        store.delete_asset(pk, key)
        return {}
    if method == "PUT":
        try:
            store.set_asset(pk, key, (body or {}).get("value"), by, sql.now())
        except ActionRefused as e:
            raise Refused(422, str(e.detail)) from e
        return {}
    found = store.get_asset(pk, key)
    if found is None:
        raise Refused(404, f"Asset state store key {key!r} not found")
    return {"key": key, "value": exact_loads(found.value)}


def _asset(query: dict[str, Any]) -> int:
    name, uri = query.get("name"), query.get("uri")
    if not name and not uri:
        raise Refused(422, "Name the asset: name or uri.")
    found = Asset.objects.filter(Q(name=name) if name else Q(uri=uri), is_active=True).values_list("pk", flat=True).first()
    if found is None:
        raise Refused(404, f"There is no active asset with the {'name' if name else 'URI'} {name or uri!r}: a DAG must refer to it.")
    return found


def assets(*, token: str, body: Any, query: dict[str, str]) -> dict[str, Any]:
    """The active asset of a name (?name=, 404 if there is none), or those that were written through an alias at least once (?alias=)."""
    caller(token)
    if name := query.get("name"):
        one = Asset.objects.filter(name=name, is_active=True).first()
        if one is None:
            raise Refused(404, f"There is no active asset named {name!r}: a DAG must refer to it.")
        return {"assets": [{"name": one.name, "uri": one.uri, "group": one.group, "extra": one.extra}]}
    found = Asset.objects.filter(aliases__name=query.get("alias", ""), is_active=True).order_by("name")
    return {"assets": [{"name": a.name, "uri": a.uri} for a in found[:1000]]}
