"""The audit trail as people read it: who did what to what, newest first. For the page `/audit` and the tab of a DAG."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Q
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy

from apps.access import policy
from apps.access.models import AuditEvent
from apps.dags.models import Dag
from apps.ui.queries.versions import shown

PAGE = 50
ACTIONS: dict[str, Any] = {
    "trigger_dag_run": lazy("triggered a run"),
    "patch_dag_run": lazy("changed a run"),
    "clear_dag_run": lazy("cleared a run"),
    "delete_dag_run": lazy("deleted a run"),
    "clear_task_instances": lazy("cleared tasks"),
    "patch_task_instance": lazy("changed a task"),
    "delete_task_instance": lazy("deleted a task"),
    "update_hitl_detail": lazy("answered a task"),
    "paused": lazy("paused or unpaused"),
    "patch_dag": lazy("changed a DAG"),
    "delete_dag": lazy("deleted a DAG"),
    "reparse_dag_file": lazy("had a file read again"),
    "create_backfill": lazy("made a backfill"),
    "pause_backfill": lazy("paused a backfill"),
    "unpause_backfill": lazy("let a backfill go on"),
    "cancel_backfill": lazy("cancelled a backfill"),
    "undo": lazy("undid"),
    "create_asset_event": lazy("told news of an asset"),
    "delete_queued_asset_events": lazy("dropped news of assets"),
    "clear_partition": lazy("cleared a partition"),
    "import_history": lazy("imported history"),
    "set_asset_state": lazy("set what an asset keeps"),
    "delete_asset_state": lazy("deleted what an asset keeps"),
    "clear_asset_state": lazy("cleared what an asset keeps"),
    "post_pool": lazy("made a pool"),
    "patch_pool": lazy("changed a pool"),
    "delete_pool": lazy("deleted a pool"),
    "post_connection": lazy("made a connection"),
    "patch_connection": lazy("changed a connection"),
    "delete_connection": lazy("deleted a connection"),
    "post_variable": lazy("made a variable"),
    "patch_variable": lazy("changed a variable"),
    "delete_variable": lazy("deleted a variable"),
    "login": lazy("signed in"),
    "login_failed": lazy("could not sign in"),
    "locked_out": lazy("was locked out"),
    "password_changed": lazy("changed a password"),
    "sign_out_everywhere": lazy("ended all sessions"),
}
"""Actions that people look for, in words; others are shown by their name."""

MEANS = {"ui": lazy("on the pages"), "rest": lazy("over REST"), "admin": lazy("in the administration"), "cli": lazy("on the command line"),
         "scheduler": lazy("by the scheduler"), "worker": lazy("by a task"), "system": lazy("by Trackside itself")}  # fmt: skip
_ADMIN = {
    "pool": "admin:runs_pool_changelist",
    "connection": "admin:access_connection_changelist",
    "variable": "admin:access_variable_changelist",
    "user": "admin:access_user_changelist",
}


@dataclass(slots=True)
class Filters:
    """What the person asked for; each empty field filters nothing."""

    who: str = ""
    what: str = ""
    dag: str = ""
    since: date | None = None
    until: date | None = None
    before: int | None = None
    """Only events older than this one: the key of a page."""

    def __bool__(self) -> bool:
        return bool(self.who or self.what or self.dag or self.since or self.until)


@dataclass(slots=True)
class Line:
    """One event in words."""

    event: AuditEvent
    action: str
    means: str
    links: list[tuple[str, str]] = field(default_factory=list)
    """Text and URL; an empty URL for what has no page or is gone."""
    changes: list[dict[str, str]] = field(default_factory=list)


def trail(user: Any, wanted: Filters, *, dag_id: str | None = None) -> tuple[list[Line], int | None]:
    """A page of the trail, and the key of the next one. One statement (and one for people who see only some DAGs)."""
    events = AuditEvent.objects.all()
    if policy.visible_dags(user) != Q():
        events = events.filter(dag_id__in=Dag.objects.filter(policy.visible_dags(user)).values("pk"))
    if dag_id is not None:
        events = events.filter(dag_id=dag_id)
    elif wanted.dag:
        events = events.filter(dag_id=wanted.dag)
    if wanted.who:
        events = events.filter(actor__icontains=wanted.who)
    if wanted.what:
        events = events.filter(action=wanted.what)
    if wanted.since:
        events = events.filter(at__gte=_midnight(wanted.since))
    if wanted.until:
        events = events.filter(at__lt=_midnight(wanted.until + timedelta(days=1)))
    if wanted.before is not None:
        events = events.extra(where=["(at, id) < (SELECT at, id FROM access_auditevent WHERE id = %s)"], params=[wanted.before])
    found = list(events.order_by("-at", "-id")[: PAGE + 1])
    lines = [_line(e, staff=bool(user.is_staff), alone=dag_id is not None) for e in found[:PAGE]]
    return lines, found[PAGE - 1].pk if len(found) > PAGE else None


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=timezone.get_current_timezone())


def _line(event: AuditEvent, *, staff: bool, alone: bool) -> Line:
    line = Line(
        event,
        str(ACTIONS.get(event.action, event.action.replace("_", " "))),
        str(MEANS.get(event.means) or _("by %(means)s") % {"means": event.means}),
    )
    line.links = list(_links(event, staff=staff, alone=alone))
    line.changes = _changes(event.extra)
    return line


def _links(event: AuditEvent, *, staff: bool, alone: bool) -> Iterable[tuple[str, str]]:
    """What it was done to, from the DAG down. What was deleted is named without a link."""
    gone = event.action.startswith("delete_")
    if event.dag_id and not (alone and (event.run_id or event.task_id)):
        yield event.dag_id, "" if gone and not event.run_id else reverse("dag", args=[event.dag_id])
    if event.dag_id and event.run_id:
        yield f"run {event.run_id}", "" if gone and not event.task_id else _url("run", event.dag_id, event.run_id)
    if event.task_id:
        index = event.map_index if event.map_index is not None and event.map_index >= 0 else None
        href = "" if gone or not (event.dag_id and event.run_id) else _url("task", event.dag_id, event.run_id, event.task_id)
        mapped = index is not None
        yield event.task_id + (f" [{index}]" if mapped else ""), f"{href}?map_index={index}" if href and mapped else href
    if event.object_type and event.object_id:
        yield f"{event.object_type.replace('_', ' ')} {event.object_id}", "" if gone else _object(event, staff)


def _url(name: str, *args: str) -> str:
    try:
        return reverse(name, args=args)
    except NoReverseMatch:  # a name with a slash
        return ""


def _object(event: AuditEvent, staff: bool) -> str:
    kind, name = str(event.object_type), str(event.object_id)
    if kind == "asset" and name.isdecimal():
        return _url("asset", name)
    if kind == "backfill" and event.dag_id:
        return _url("dag_backfills", event.dag_id)
    if kind in _ADMIN and staff:
        return f"{reverse(_ADMIN[kind])}?{urlencode({'q': name})}"
    return ""


def _changes(extra: dict[str, Any]) -> list[dict[str, str]]:
    """Fields before and after, then whatever else was noted."""
    before, after = extra.get("before"), extra.get("after")
    found: list[dict[str, str]] = []
    if isinstance(before, dict) or isinstance(after, dict):
        old, new = before if isinstance(before, dict) else {}, after if isinstance(after, dict) else {}
        found = [{"name": str(k), "old": shown(old.get(k)), "new": shown(new.get(k))} for k in sorted({*old, *new})]
    rest = {k: v for k, v in extra.items() if k not in ("before", "after") or not found}
    return found + [{"name": str(k), "old": "", "new": shown(v)} for k, v in rest.items() if v not in (None, "", [], {})]
