"""Which calls a page shows or makes, by the name of its route: the table behind "copy as curl, Python or command line" of every page.

For the tag `copy_as`. A dialog's entry reads the form as it is now. A page that no call can show or make has none, and then no menu.
Forms and quoting are `snippets`'.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import QueryDict
from django.utils import timezone

from apps.runs.errors import ActionRefused
from apps.ui import params, previews
from apps.ui.snippets import Cli, Python, Same, path

OWN = "/api/trackside/v1"


@dataclass(slots=True)
class Seen:
    """A page as a person sees it."""

    kwargs: Mapping[str, Any]
    """Names in the address."""
    get: QueryDict
    post: QueryDict
    context: Mapping[str, Any]
    """What the template has: a dialog's choices."""

    @property
    def dag(self) -> str:
        """Id of the DAG in the address."""
        return str(self.kwargs["dag_id"])

    @property
    def run(self) -> tuple[str, str]:
        """DAG and run."""
        return self.dag, str(self.kwargs["run_id"])

    @property
    def task(self) -> tuple[str, str, str]:
        """DAG, run and task."""
        return *self.run, str(self.kwargs["task_id"])

    def asked(self, name: str) -> str:
        """A filter of the address, or empty."""
        return self.get.get(name, "").strip()


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, "", False, [])}


def _text(value: Any) -> str:
    return "true" if value is True else "false" if value is False else str(value)


# --- what pages show ------------------------------------------------------------------------------------------------
def _dags(seen: Seen) -> list[Same]:
    q, tag, view = seen.asked("q"), seen.asked("tag"), seen.asked("view")
    paused = True if view == "paused" else None
    tags = [tag] if tag else None
    asked = _given(dag_id_pattern=q, tags=tag) | ({} if paused is None else {"paused": paused})
    named = _given(tags=tags) | ({} if paused is None else {"paused": paused})
    query = [(name, _text(value)) for name, value in asked.items()]
    cli = Cli(("dags", "list"), (), _given(**{"--pattern": q, "--tag": tag, "--paused": "yes" if paused else None}))
    return [Same("GET", "/api/v2/dags", query, None, Python("dags", (q,) if q else (), named), cli)]


def _runs(dag_id: str, seen: Seen | None = None) -> list[Same]:
    state, kind = (seen.asked("state"), seen.asked("type")) if seen else ("", "")
    query = [("order_by", "-run_after"), ("limit", "25"), *_given(state=state, run_type=kind).items()]
    named = _given(state=state, run_type=kind)
    cli = Cli(("runs", "list"), () if dag_id == "~" else (dag_id,), _given(**{"--state": state, "--type": kind}))
    of = () if dag_id == "~" else (dag_id,)
    return [Same("GET", path("/api/v2/dags/{}/dagRuns", dag_id), query, None, Python("runs", of, named), cli)]


def _tasks(seen: Seen) -> list[Same]:
    dag = seen.asked("dag")
    exact = dag if dag and "*" not in dag else "~"
    asked = _given(state=seen.asked("state"), pool=seen.asked("pool"), operator_name_pattern=seen.asked("operator"))
    query = [("order_by", "-start_date"), ("limit", "100"), *asked.items()]
    return [Same("GET", path("/api/v2/dags/{}/dagRuns/~/taskInstances", exact), query)]


def _audit(seen: Seen) -> list[Same]:
    dag = str(seen.kwargs.get("dag_id") or seen.asked("dag"))
    asked = _given(dag_id=dag, owner=seen.asked("who"), event=seen.asked("what"))
    query = [("order_by", "-when"), ("limit", "25"), *asked.items()]
    options = {"--dag-id": dag, "--user": seen.asked("who"), "--event": seen.asked("what")}
    return [Same("GET", "/api/v2/eventLogs", query, None, Python("audit", (), asked), Cli(("audit", "list"), (), _given(**options)))]


def _dag(seen: Seen) -> list[Same]:
    detail = Same(
        "GET", path("/api/v2/dags/{}/details", seen.dag), (), None, Python("dag", (seen.dag,)), Cli(("dags", "details"), (seen.dag,))
    )
    return [detail, *_runs(seen.dag)]


def _run(seen: Seen) -> list[Same]:
    where = path("/api/v2/dags/{}/dagRuns/{}", *seen.run)
    of = Same("GET", where, (), None, Python("run", seen.run), Cli(("runs", "show"), seen.run))
    tasks = Same(
        "GET", f"{where}/taskInstances", [("limit", "100")], None, Python("tasks", seen.run),
        Cli(("tasks", "list"), (seen.dag,), {"--run": seen.run[1]}),
    )  # fmt: skip
    why = Same("GET", path(f"{OWN}/dags/{{}}/runs/{{}}/why", *seen.run))
    return [of, tasks, why]


def _task(seen: Seen) -> list[Same]:
    index = _index(seen)
    where = path("/api/v2/dags/{}/dagRuns/{}/taskInstances/{}", *seen.task)
    named: dict[str, Any] = {"map_index": index} if index >= 0 else {}
    options: dict[str, Any] = {"--map-index": index} if index >= 0 else {}
    one = Same("GET", where if index < 0 else f"{where}/{index}", (), None, Python("task", seen.task, named),
               Cli(("tasks", "get"), seen.task, options))  # fmt: skip
    number = _shown(seen)
    if not number:
        return [one]
    query = [("map_index", str(index)), ("full_content", "true")]
    named, options = {**named, "try_number": int(number)}, {**options, "--try-number": number}
    log = Same("GET", f"{where}/logs/{number}", query, None, Python("logs", seen.task, named, lines=True),
               Cli(("tasks", "logs"), seen.task, options))  # fmt: skip
    return [one, log]


def _shown(seen: Seen) -> str:
    """Number of the try whose log the page shows; empty: the task has none yet."""
    chosen = seen.context.get("chosen")
    return str(chosen.number) if chosen is not None else ""


def _index(seen: Seen) -> int:
    text = seen.asked("map_index")
    return int(text) if text.isdecimal() and len(text) < 9 else -1


def _assets(seen: Seen) -> list[Same]:
    q = seen.asked("q")
    cli = Cli(("assets", "list"), (), _given(**{"--pattern": q}))
    return [Same("GET", "/api/v2/assets", list(_given(name_pattern=q).items()), None, Python("assets", (q,) if q else ()), cli)]


def _asset(seen: Seen) -> list[Same]:
    pk = int(seen.kwargs["asset_pk"])
    events = [("order_by", "-timestamp"), ("limit", "25"), ("asset_id", str(pk))]
    return [
        Same("GET", f"/api/v2/assets/{pk}", (), None, Python("asset", (pk,)), Cli(("assets", "show"), (str(pk),))),
        Same("GET", "/api/v2/assets/events", events, None, None, Cli(("assets", "events"), (str(pk),))),
    ]


def _materialize(seen: Seen) -> list[Same]:
    pk = str(seen.kwargs["asset_pk"])
    return [Same("POST", f"/api/v2/assets/{pk}/materialize", (), {}, None, Cli(("assets", "materialize"), (pk,)))]


def _backfills(seen: Seen) -> list[Same]:
    cli = Cli(("backfill", "list"), (seen.dag,))
    return [Same("GET", "/api/v2/backfills", [("dag_id", seen.dag)], None, Python("backfills", (seen.dag,)), cli)]


def _call(template: str, *names: str, **query: str) -> Callable[[Seen], list[Same]]:
    """A page that one reading call shows; `names` are those of its address."""
    return lambda seen: [Same("GET", path(template, *(str(seen.kwargs[name]) for name in names)), list(query.items()))]


def _simple(where: str, method: str, *words: str) -> Callable[[Seen], list[Same]]:
    return lambda seen: [Same("GET", where, (), None, Python(method), Cli(words))]


# --- what dialogs do, with the choices of now -------------------------------------------------------------------------
def _trigger(seen: Seen) -> list[Same]:
    conf: dict[str, Any] = {}
    if seen.post:
        conf = params.read(seen.context.get("fields") or [], seen.post)
        if text := seen.post.get("conf", "").strip():
            conf |= params.parse_conf(text)
    run_id, note = (seen.post.get(name, "").strip() for name in ("run_id", "note"))
    logical = seen.post.get("logical_date", "").strip()
    date = f"{datetime.fromisoformat(logical).isoformat()}+00:00" if logical else None
    body = {"logical_date": date, "conf": conf, **_given(dag_run_id=run_id, note=note)}
    python = Python("trigger", (seen.dag,), _given(logical_date=date, run_id=run_id, note=note) | ({"conf": conf} if conf else {}))
    options = {"--run-id": run_id, "--logical-date": date, "--note": note, "--conf": _json(conf) if conf else ""}
    made = Same("POST", path("/api/v2/dags/{}/dagRuns", seen.dag), (), body, python, Cli(("dags", "trigger"), (seen.dag,), options))
    if seen.post.get("unpause") != "on":
        return [made]
    return [made, _switch(seen.dag, False)]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _clear(seen: Seen) -> list[Same]:
    wanted = previews.clear_request(seen.context["run"], seen.kwargs.get("task_id"), seen.context["chosen"])
    flags = _given(
        only_failed=wanted.only_failed, only_running=wanted.only_running, upstream=wanted.upstream, downstream=wanted.downstream,
        future=wanted.future, past=wanted.past, latest_version=wanted.run_on_latest_version,
    )  # fmt: skip
    tasks = None if wanted.task_ids is None else list(wanted.task_ids)
    body = {**({} if tasks is None else {"task_ids": tasks}), **flags, "dry_run": False}
    python = Python("clear_tasks", (*seen.run, *(() if tasks is None else (tasks,))), flags)
    return [Same("POST", path(f"{OWN}/dags/{{}}/runs/{{}}/clear", *seen.run), (), body, python, _of_tasks(seen, "clear", tasks, flags))]


def _mark_task(seen: Seen) -> list[Same]:
    chosen = seen.context["chosen"]
    wanted = previews.mark_request(seen.context["run"], str(seen.kwargs["task_id"]), chosen)
    tasks = list(wanted.task_ids)
    flags = _given(upstream=wanted.upstream, downstream=wanted.downstream, future=wanted.future, past=wanted.past, note=wanted.note)
    body = {"task_ids": tasks, "state": wanted.state, **flags, "dry_run": False}
    python = Python("mark_tasks", (*seen.run, tasks, wanted.state), flags)
    cli = _of_tasks(seen, "mark", tasks, {"state": wanted.state, **flags})
    return [Same("POST", path(f"{OWN}/dags/{{}}/runs/{{}}/mark", *seen.run), (), body, python, cli)]


def _of_tasks(seen: Seen, verb: str, tasks: list[Any] | None, flags: Mapping[str, Any]) -> Cli:
    options = {f"--{name.replace('_', '-')}": value for name, value in flags.items()}
    if tasks is None:
        return Cli(("runs", verb), seen.run, options)
    named = [one if isinstance(one, str) else one[0] for one in tasks]
    indices = [one[1] for one in tasks if not isinstance(one, str)]
    return Cli(("tasks", verb), (*seen.run, *named), {**options, **({"--map-index": indices[0]} if indices else {})})


def _mark_run(seen: Seen) -> list[Same]:
    chosen = seen.context["chosen"]
    state, note = chosen["state"], _given(note=chosen["note"].strip())
    cli = Cli(("runs", "mark"), (*seen.run, state), {f"--{name}": value for name, value in note.items()})
    where = path(f"{OWN}/dags/{{}}/runs/{{}}/state", *seen.run)
    return [Same("POST", where, (), {"state": state, **note, "dry_run": False}, Python("set_run_state", (*seen.run, state), note), cli)]


def _backfill(seen: Seen) -> list[Same]:
    chosen = seen.context["chosen"]
    body = {
        "dag_id": seen.dag, "from_date": _moment(chosen["from"]), "to_date": _moment(chosen["to"]), "run_backwards": chosen["backwards"],
        "reprocess_behavior": chosen["reprocess"], "max_active_runs": int(chosen["max_active"]),
        **({"dag_run_conf": params.parse_conf(chosen["conf"])} if chosen["conf"].strip() else {}),
    }  # fmt: skip
    options = {
        "--from-date": body["from_date"], "--to-date": body["to_date"], "--backwards": body["run_backwards"],
        "--reprocess": body["reprocess_behavior"], "--max-active-runs": body["max_active_runs"],
        "--conf": _json(body["dag_run_conf"]) if "dag_run_conf" in body else None,
    }  # fmt: skip
    return [Same("POST", "/api/v2/backfills", (), body, None, Cli(("backfill", "create"), (seen.dag,), options))]


def _moment(text: str) -> str:
    """A moment of the form, in the zone of the page."""
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else timezone.make_aware(found)).isoformat()


def _note(seen: Seen) -> list[Same]:
    where, note = path("/api/v2/dags/{}/dagRuns/{}", *seen.run), str(seen.context.get("note", "")).strip()
    if "task_id" in seen.kwargs:
        index = _index(seen)
        where += path("/taskInstances/{}", seen.task[2]) + (f"/{index}" if index >= 0 else "")
    return [Same("PATCH", where, [("update_mask", "note")], {"note": note or None})]


def _asset_event(seen: Seen) -> list[Same]:
    extra = params.parse_conf(seen.post.get("extra") or "{}")
    return [Same("POST", "/api/v2/assets/events", (), {"asset_id": int(seen.kwargs["asset_pk"]), "extra": extra})]


def _bulk(seen: Seen) -> list[Same]:
    """One call for each DAG, or each run, that the dialog names."""
    do = seen.post.get("do", "")
    if do == "clear":
        return [_clear_failed(run.dag_id, run.run_id) for run, *_ in seen.context["chosen"]]
    return [_trigger_plainly(name) if do == "trigger" else _switch(name, do != "unpause") for name in seen.context["names"]]


def _clear_failed(dag_id: str, run_id: str) -> Same:
    python = Python("clear_tasks", (dag_id, run_id), {"only_failed": True})
    cli = Cli(("runs", "clear"), (dag_id, run_id), {"--only-failed": True})
    return Same("POST", path(f"{OWN}/dags/{{}}/runs/{{}}/clear", dag_id, run_id), (), {"only_failed": True, "dry_run": False}, python, cli)


def _trigger_plainly(dag_id: str) -> Same:
    body: dict[str, Any] = {"logical_date": None, "conf": {}}
    where = path("/api/v2/dags/{}/dagRuns", dag_id)
    return Same("POST", where, (), body, Python("trigger", (dag_id,)), Cli(("dags", "trigger"), (dag_id,)))


def _switch(dag_id: str, paused: bool) -> Same:
    where, verb = path(f"{OWN}/dags/{{}}/pause", dag_id), "pause" if paused else "unpause"
    return Same(
        "POST", where, (), {"paused": paused, "dry_run": False}, Python("switch", (dag_id, paused)), Cli(("dags", verb), (dag_id,))
    )


# --- settings ---------------------------------------------------------------------------------------------------------
def _setting(kind: str) -> Callable[[Seen], list[Same]]:
    return lambda seen: [Same("GET", f"/api/v2/{kind}", (), None, Python(kind), Cli((kind, "list")))]


def _one_setting(kind: str, attribute: str) -> Callable[[Seen], list[Same]]:
    def of(seen: Seen) -> list[Same]:
        if (original := seen.context.get("original")) is None:
            return []
        name = str(getattr(original, attribute))
        return [Same("GET", path(f"/api/v2/{kind}/{{}}", name), (), None, Python("get", (kind, name)), Cli((kind, "get"), (name,)))]

    return of


ROUTES: dict[str, Callable[[Seen], list[Same]]] = {
    "home": lambda seen: _runs("~"),
    "dags": _dags,
    "dags_bulk": _bulk,
    "runs": lambda seen: _runs("~", seen),
    "tasks": _tasks,
    "audit": _audit,
    "processes": _call("/api/v2/jobs"),
    "data_status": _assets,
    "assets": _assets,
    "asset": _asset,
    "asset_materialize": _materialize,
    "asset_event": _asset_event,
    "required_actions": _call("/api/v2/dags/~/dagRuns/~/hitlDetails", state="awaiting_input"),
    "import_errors": _simple("/api/v2/importErrors", "import_errors", "import-errors", "list"),
    "dag": _dag,
    "dag_graph": _call("/api/v2/dags/{}/tasks", "dag_id"),
    "dag_runs": lambda seen: _runs(seen.dag, seen),
    "dag_calendar": lambda seen: _runs(seen.dag),
    "dag_trends": lambda seen: _runs(seen.dag),
    "dag_backfills": _backfills,
    "dag_backfill": _backfill,
    "dag_tasks": _call("/api/v2/dags/{}/tasks", "dag_id"),
    "dag_code": _call("/api/v2/dagSources/{}", "dag_id"),
    "dag_audit": _audit,
    "dag_details": _dag,
    "dag_trigger": _trigger,
    "run": _run,
    "run_compare": _run,
    "run_clear": _clear,
    "run_mark": _mark_run,
    "run_note": _note,
    "task": _task,
    "task_clear": _clear,
    "task_mark": _mark_task,
    "task_note": _note,
    "admin:runs_pool_changelist": _setting("pools"),
    "admin:runs_pool_change": _one_setting("pools", "name"),
    "admin:access_variable_changelist": _setting("variables"),
    "admin:access_variable_change": _one_setting("variables", "key"),
    "admin:access_connection_changelist": _setting("connections"),
    "admin:access_connection_change": _one_setting("connections", "conn_id"),
    "admin:access_user_changelist": _simple(f"{OWN}/users", "users", "users", "list"),
    "admin:auth_group_changelist": _simple(f"{OWN}/roles", "roles", "roles", "list"),
    "admin:access_apitoken_changelist": _simple(f"{OWN}/tokens", "tokens", "tokens", "list"),
    "admin:access_auditevent_changelist": _simple("/api/v2/eventLogs", "audit", "audit", "list"),
}
"""Name of the route → its calls."""


def of(request: Any, context: Mapping[str, Any]) -> list[Same]:
    """The calls of this page; none for one without a call, and for choices that are no valid ones (the page says which)."""
    match = getattr(request, "resolver_match", None)
    if match is None or (make := ROUTES.get(match.view_name)) is None:
        return []
    try:
        return make(Seen(match.kwargs, request.GET, request.POST, context))
    except (ActionRefused, ValueError, KeyError):
        return []
