"""What clear and mark dialogs show before they act: choices from the form, the domain's preview in numbers and words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.db.models import Count
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy
from django.utils.translation import ngettext

from apps.runs.models import Run, TaskInstance
from apps.ui import words
from apps.ui.queries.runs import STATE_ORDER

if TYPE_CHECKING:
    from apps.dags.models import Dag
    from apps.runs.actions.clearing import ClearRequest
    from apps.runs.actions.deletion import Plan
    from apps.runs.actions.marking import MarkRequest, RunPlan

LISTED = 200
ALSO = (
    ("upstream", lazy("What it waits for (upstream)")),
    ("downstream", lazy("What follows (downstream)")),
    ("future", lazy("Later runs")),
    ("past", lazy("Earlier runs")),
)
RUN_WHATS = [
    ("failed", lazy("Failed tasks and what follows")),
    ("failed_only", lazy("Failed tasks only")),
    ("running", lazy("Running tasks")),
    ("all", lazy("The whole run")),
]
TASK_WHATS = [
    ("downstream", lazy("This task and what follows")),
    ("task", lazy("This task only")),
    ("upstream", lazy("This task and all upstream")),
    ("both", lazy("Upstream, this task and downstream")),
]


def map_index(request: HttpRequest) -> int | None:
    """`?map_index=`; None stands for all instances of the task."""
    text = request.GET.get("map_index", "")
    return int(text) if text.lstrip("-").isdigit() else None


def whats(task_id: str | None) -> list[tuple[str, str]]:
    """The choices of "What"."""
    return [(value, str(text)) for value, text in (TASK_WHATS if task_id else RUN_WHATS)]


def clear_choice(request: HttpRequest, task_id: str | None) -> dict[str, Any]:
    """What the form says, with the safest choice as default."""
    data = request.POST if request.method == "POST" else request.GET

    def one_of(name: str, allowed: Sequence[str]) -> str:
        value = data.get(name, "")
        return value if value in allowed else allowed[0]

    return {
        "what": one_of("what", [w for w, _ in whats(task_id)]),
        "runs": one_of("runs", ("this", "future", "past")),
        "code": one_of("code", ("same", "latest")),
        "map_index": map_index(request),
    }


def clear_request(run: Run, task_id: str | None, chosen: dict[str, Any]) -> ClearRequest:
    """The domain's words for the choice."""
    from apps.runs.actions.clearing import ClearRequest

    what, index = chosen["what"], chosen["map_index"]
    task_ids: list[Any] | None = None
    if task_id is not None:
        task_ids = [(task_id, index)] if index is not None and index >= 0 else [task_id]
    return ClearRequest(
        dag_id=run.dag_id,
        run_pks=[run.pk],
        task_ids=task_ids,
        only_failed=what in ("failed", "failed_only"),
        only_running=what == "running",
        downstream=what in ("failed", "downstream", "both"),
        upstream=what in ("upstream", "both"),
        future=chosen["runs"] == "future",
        past=chosen["runs"] == "past",
        run_on_latest_version=True if chosen["code"] == "latest" else None,
    )


def mark_choice(request: HttpRequest, state: str) -> dict[str, Any]:
    """What the mark form says."""
    data = request.POST
    return {
        "state": data.get("state") or request.GET.get("state") or ("failed" if state in ("running", "success") else "success"),
        "note": data.get("note", ""),
        "map_index": map_index(request),
        **{key: data.get(key) == "on" for key, _ in ALSO},
    }


def mark_request(run: Run, task_id: str, chosen: dict[str, Any]) -> MarkRequest:
    """The domain's words for the choice."""
    from apps.runs.actions.marking import MarkRequest

    index = chosen["map_index"]
    task_ids: list[Any] = [(task_id, index)] if index is not None and index >= 0 else [task_id]
    flags = {key: chosen[key] for key, _ in ALSO}
    return MarkRequest(run=run, task_ids=task_ids, state=chosen["state"], note=chosen["note"].strip() or None, **flags)


def summary(found: Sequence[TaskInstance], verb: str, effect: str) -> dict[str, Any]:
    """Numbers by state and a list folded by task."""
    by_state: dict[str, int] = {}
    folded: dict[str, dict[str, Any]] = {}
    for ti in found:
        by_state[ti.state] = by_state.get(ti.state, 0) + 1
        entry = folded.setdefault(ti.task_id, {"task_id": ti.task_id, "states": set(), "run_pks": set(), "count": 0})
        entry["states"].add(ti.state)
        entry["run_pks"].add(ti.run_id)
        entry["count"] += 1
    items = [{**e, "state": words.worst(e["states"]), "runs": len(e["run_pks"])} for e in list(folded.values())[:LISTED]]
    ordered = sorted(by_state.items(), key=lambda p: STATE_ORDER.index(p[0]) if p[0] in STATE_ORDER else 99)
    return {"total": len(found), "by_state": ordered, "items": items, "verb": verb, "effect": effect}


def clear_consequences(run: Run, found: Sequence[TaskInstance], chosen: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(icon, sentence, tone): what else happens."""
    pks = {ti.run_id for ti in found}
    told = []
    if run.pk in pks and len(pks) == 1 and run.state in ("success", "failed"):
        told.append(("clock", _("The run is queued again and goes on as soon as it has a place."), ""))
    elif len(pks) > 1:
        told.append(("runs", _("%(runs)s are touched.") % {"runs": words.plural(len(pks), "run")}, ""))
    running = sum(ti.state == "running" for ti in found)
    if running:
        told.append(("stop", _("%(tasks)s will be stopped first.") % {"tasks": words.plural(running, "running task")}, "warn"))
    if found:
        told.append(("history", _("Tries so far keep their logs; each task gets a new try."), ""))
    if run.dag.is_paused and found:
        told.append(("incident", _("The DAG is paused: nothing starts until it is switched on."), "warn"))
    if chosen["code"] == "latest":
        told.append(("code", _("The newest version of the DAG is used."), ""))
    return told


def mark_consequences(state: str, found: Sequence[TaskInstance]) -> list[tuple[str, str, str]]:
    """(icon, sentence, tone) for a mark."""
    told = []
    running = sum(ti.state in ("running", "queued") for ti in found)
    if running and state != "queued":
        told.append(("stop", _("%(tasks)s running or queued now will be stopped.") % {"tasks": words.plural(running, "task")}, "warn"))
    if state in ("success", "skipped"):
        told.append(("info", _("What waits for it goes on by its own rules; nothing is executed for the marked tasks."), ""))
    elif state == "queued":
        told.append(("clock", _("The run is planned again; finished tasks keep their results."), ""))
    else:
        told.append(("info", _("What needs its success will not run."), ""))
    return told


def run_consequences(run: Run, state: str, plan: RunPlan) -> list[tuple[str, str, str]]:
    """(icon, sentence, tone) for the mark of a whole run."""
    told = []
    if plan.before == state:
        told.append(("info", _("The run is %(state)s already.") % {"state": words.said(state)}, ""))
    if plan.ended:
        told.append(("stop", _("%(tasks)s under way will be stopped.") % {"tasks": words.plural(len(plan.ended), "task")}, "warn"))
    if plan.skipped:
        told.append(("info", _("%(tasks)s that did not begin will be skipped.") % {"tasks": words.plural(len(plan.skipped), "task")}, ""))
    if plan.teardowns:
        told.append(("clock", _("Teardowns still run; the run gets this state when they have ended."), ""))
    if state == "queued":
        told.append(("clock", _("The run is planned again; finished tasks keep their results."), ""))
        if run.dag.is_paused:
            told.append(("incident", _("The DAG is paused: nothing starts until it is switched on."), "warn"))
    return told


def pause_consequences(dags: Sequence[Dag], paused: bool) -> list[tuple[str, str, str]]:
    """(icon, sentence, tone) for a switch of these DAGs, as `catalogue.preview_paused` gives them."""
    if not dags:
        return [("info", _("It is paused already: nothing changes.") if paused else _("It is switched on already: nothing changes."), "")]
    counts = dict(
        Run.objects.filter(dag__in=[d.pk for d in dags], state__in=("running", "queued")).values_list("state").annotate(n=Count("pk"))
    )
    running, queued = counts.get("running", 0), counts.get("queued", 0)
    told = []
    if paused:
        told.append(("info", _("No new runs start; tasks that run finish."), ""))
        if running:
            told.append(
                ("clock", _("%(runs)s under way will wait after the tasks that run now.") % {"runs": words.plural(running, "run")}, "warn")
            )
        if queued:
            told.append(
                ("clock", _("%(runs)s will wait until it is switched on again.") % {"runs": words.plural(queued, "queued run")}, "warn")
            )
        return told
    if waiting := running + queued:
        told.append(
            (
                "play",
                ngettext("%(n)s run that waits will go on.", "%(n)s runs that wait will go on.", waiting) % {"n": words.number(waiting)},
                "",
            )
        )
    upcoming = sorted(d.next_run_after for d in dags if d.next_run_after)
    if not upcoming:
        told.append(("info", _("No run is planned by time."), ""))
    elif upcoming[0] <= timezone.now():
        told.append(("clock", _("A run starts at once: it is due already."), "warn"))
    else:
        told.append(("clock", _("The next run comes on %(upcoming)s.") % {"upcoming": words.moment(upcoming[0])}, ""))
    return told


def deletion_consequences(plan: Plan) -> list[tuple[str, str, str]]:
    """(icon, sentence, tone) for runs or a DAG that are deleted."""
    gone = [words.plural(plan.runs, "run"), words.plural(plan.instances, "task instance"), words.plural(len(plan.tries), "log")]
    told = [("x", _("%(gone)s go for good: this cannot be undone.") % {"gone": ", ".join(gone)}, "warn")]
    if plan.returns:
        told.append(("info", _("Its file is still there: the DAG comes back without its history. Delete the file, too."), ""))
    return told
