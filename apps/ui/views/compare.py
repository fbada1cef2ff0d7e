"""A run beside another one: what changed, and which task made it longer."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from apps.runs.errors import NotFound
from apps.runs.models import Run
from apps.ui import sentences, words
from apps.ui.page import page, show
from apps.ui.queries import comparison as queries
from apps.ui.queries import runs as run_queries
from apps.ui.queries import versions


@page(read="run")
def compare(request: HttpRequest, dag_id: str, run_id: str) -> HttpResponse:
    """`?with=` names the other run, else it is the last success before; `?show=all` lists also tasks that went alike."""
    now = run_queries.get(dag_id, run_id)
    wanted, lacking = request.GET.get("with", ""), ""
    then: Run | None = None
    if wanted:
        try:
            then = run_queries.get(dag_id, wanted)
        except NotFound as e:
            lacking = sentences.told(str(e.detail))
    if then is None:
        then = queries.previous_success(now)
    context: dict[str, Any] = {
        "run": now, "dag": now.dag, "then": then, "choices": queries.choices(now), "lacking": lacking, "seconds": seconds(now),
    }  # fmt: skip
    if then is not None:
        context |= _beside(now, then, everything=request.GET.get("show") == "all")
    crumbs = [
        ("DAGs", reverse("dags")), (dag_id, reverse("dag", args=[dag_id])),
        (_("Run %(run_after)s") % {"run_after": words.moment(now.run_after)}, reverse("run", args=[dag_id, run_id])), (_("Compare"), ""),
    ]  # fmt: skip
    return show(
        request,
        "ui/run_compare.html",
        context,
        nav="runs",
        title=_("Compare %(dag_id)s %(run_after)s") % {"dag_id": dag_id, "run_after": words.moment(now.run_after)},
        crumbs=crumbs,
    )


def _beside(now: Run, then: Run, *, everything: bool) -> dict[str, Any]:
    tasks = queries.pairs(now, then)
    changed = [t for t in tasks if t.changed]
    top = max((x.seconds or 0.0 for t in tasks for x in (t.now, t.then) if x), default=0.0) or 1.0
    lines = [{"pair": t, "difference": difference(t.difference), "bars": _bars(t, top)} for t in (tasks if everything else changed)]
    a, b = now.dag_version, then.dag_version
    other_code = a is not None and b is not None and a.pk != b.pk
    found = versions.pair(now.dag_id, {a.number, b.number}) if other_code and a and b else {}
    spec_changes = versions.changes(found[b.number].spec, found[a.number].spec) if len(found) == 2 and a and b else []
    return {
        "lines": lines, "everything": everything, "alike": len(tasks) - len(changed), "changed": len(changed),
        "conf": queries.conf_changes(now.conf, then.conf), "other_code": other_code, "spec_changes": len(spec_changes),
        "then_seconds": seconds(then), "verdict": _verdict(now, then, changed),
    }  # fmt: skip


def seconds(run: Run) -> float | None:
    """From start to end; None while it goes on or has not begun."""
    return (run.end_date - run.start_date).total_seconds() if run.start_date and run.end_date else None


def difference(value: float | None) -> str:
    """`+3 min 10 s`, `−4 s`, `same`."""
    if value is None:
        return ""
    return _("same") if abs(value) < 0.05 else f"{'+' if value > 0 else '−'}{words.duration(abs(value))}"


def _bars(pair: queries.TaskPair, top: float) -> list[tuple[str, float]]:
    """State and width in per cent, this run first."""
    return [
        (line.state if line else "none", round((line.seconds or 0.0) / top * 100, 2) if line else 0.0) for line in (pair.now, pair.then)
    ]


def _verdict(now: Run, then: Run, changed: list[queries.TaskPair]) -> str:
    """The answer in one or two sentences."""
    a, b = seconds(now), seconds(then)
    if a is None or b is None:
        said = [_("This run is %(state)s, the other one %(state2)s.") % {"state": words.said(now.state), "state2": words.said(then.state)}]
    elif abs(a - b) < max(queries.NOTICEABLE, 0.05 * b):
        said = [_("Both took about as long.")]
    else:
        took = _("It took %(time)s longer: %(a)s, not %(b)s.") if a > b else _("It took %(time)s less: %(a)s, not %(b)s.")
        said = [took % {"time": words.duration(abs(a - b)), "a": words.duration(a), "b": words.duration(b)}]
    otherwise = [t for t in changed if t.other_state]
    if otherwise:
        said.append(_("%(tasks)s ended otherwise.") % {"tasks": words.plural(len(otherwise), "task")})
    moved = [t for t in changed if t.difference is not None]
    if moved and a is not None and b is not None and abs(a - b) >= queries.NOTICEABLE:
        most = (max if a > b else min)(moved, key=lambda t: t.difference or 0.0)
        if most.difference and (most.difference > 0) == (a > b):
            said.append(_("%(task)s alone: %(difference)s.") % {"task": most.task_id, "difference": difference(most.difference)})
    return " ".join(said)
