"""Many DAGs at once: what is chosen on the list is shown with its number before anything happens. Plain forms throughout."""

from __future__ import annotations

from typing import Any, cast

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import pgettext_lazy
from django.views.decorators.http import require_POST

from apps.access.models import User
from apps.dags import catalogue
from apps.dags.models import Dag, DagFavorite
from apps.runs.errors import ActionRefused
from apps.runs.models import Run, TaskInstance
from apps.ui import previews, rights, words
from apps.ui.page import actor_of, page
from apps.ui.queries import dags as queries
from apps.ui.views.actions import back_to, done, set_paused, words_of
from apps.ui.views.dialogs import dialog

VERBS = {
    "pause": pgettext_lazy("with a number of DAGs", "Pause"),
    "unpause": pgettext_lazy("with a number of DAGs", "Unpause"),
    "trigger": pgettext_lazy("with a number of DAGs", "Trigger"),
    "clear": pgettext_lazy("with a number of DAGs", "Clear"),
}
MOST_TRIGGERED = 100
MOST_CLEARED = 100


@require_POST
@page()
def star(request: HttpRequest, dag_id: str) -> HttpResponse:
    """Make the DAG one of the person's favourites, or no longer (`starred` is 1 or 0)."""
    if not rights.allowed(request.user, "read", "dag", dag_id) or not Dag.objects.filter(pk=dag_id).exists():
        return done(request, _("There is no DAG %(dag_id)s that you may see.") % {"dag_id": dag_id}, reverse("dags"), bad=True)
    if request.POST.get("starred") == "1":
        DagFavorite.objects.get_or_create(dag_id=dag_id, user=cast(User, request.user))
        text = _("%(dag_id)s is a favourite: it stands first on home.") % {"dag_id": dag_id}
    else:
        DagFavorite.objects.filter(dag_id=dag_id, user=cast(User, request.user)).delete()
        text = _("%(dag_id)s is no longer a favourite.") % {"dag_id": dag_id}
    return done(request, text, back_to(request, reverse("dag", args=[dag_id])))


@require_POST
@page()
def dags(request: HttpRequest) -> HttpResponse:
    """`do` (pause, unpause, trigger, clear) for `dag` (repeated), or with `all` for what the filters match; `go` acts."""
    do = request.POST.get("do", "")
    do = do if do in VERBS else "pause"
    found = _chosen(request)
    names, denied = _allowed(request, do, found)
    if do == "clear":
        return _clear(request, names, denied)
    if do != "trigger":
        names = [d.dag_id for d in found if d.dag_id in set(names) and d.is_paused != (do == "pause")]
    error = ""
    if do == "trigger" and len(names) > MOST_TRIGGERED:
        error = _("At most %(most_triggered)s DAGs are triggered at once; these are %(names)s. Choose fewer.") % {
            "most_triggered": MOST_TRIGGERED,
            "names": words.number(len(names)),
        }
    elif request.POST.get("go") and request.POST.get("seen") != str(len(names)):
        error = _("Things moved while you looked: these are the new numbers.")
    elif request.POST.get("go") and names:
        return _act(request, do, names)
    told = previews.pause_consequences(catalogue.preview_paused(names, do == "pause"), do == "pause") if names and do != "trigger" else []
    context: dict[str, Any] = {
        "do": do, "verb": VERBS[do], "consequences": told, "names": names, "total": len(names),
        "unchanged": len(found) - len(names) - denied, "denied": denied, "error": error,
        "back": reverse("dags"), "subject": f"{VERBS[do]} {words.plural(len(names), 'DAG')}",
    }  # fmt: skip
    return dialog(request, "ui/_dlg_bulk.html", context, status=422 if error else 200)


def _chosen(request: HttpRequest) -> list[Dag]:
    visible = queries.visible(request.user).order_by("dag_id").only("dag_id", "is_paused")
    if request.POST.get("all"):
        view, search, tag = (request.POST.get(k, "").strip() for k in ("view", "q", "tag"))
        return list(queries.matching(visible, view=view, search=search, tag=tag))
    return list(visible.filter(pk__in=request.POST.getlist("dag")))


def _allowed(request: HttpRequest, do: str, found: list[Dag]) -> tuple[list[str], int]:
    """What the person may do that to, and how many not."""
    action, kind = {"trigger": ("trigger", "run"), "clear": ("edit", "run")}.get(do, ("edit", "dag"))
    if rights.allowed(request.user, action, kind):
        return [d.dag_id for d in found], 0
    names = [d.dag_id for d in found if rights.allowed(request.user, action, kind, d.dag_id)]
    return names, len(found) - len(names)


def _clear(request: HttpRequest, names: list[str], denied: int) -> HttpResponse:
    """The failed tasks of each DAG's newest run, and what could not run because of them, again.

    The numbers are of the requests that `go` carries out: `clearing.preview` and `clearing.clear` choose by the same code.
    """
    from apps.runs.actions import clearing, undo

    newest = Run.objects.filter(dag_id__in=names).order_by("dag_id", "-run_after", "-id").distinct("dag_id").select_related("dag")
    runs = [r for r in newest if r.state == "failed"]
    error = ""
    if len(runs) > MOST_CLEARED:
        error = _("At most %(most_cleared)s runs are cleared at once; these are %(runs)s. Choose fewer.") % {
            "most_cleared": MOST_CLEARED,
            "runs": words.number(len(runs)),
        }
        runs = runs[:MOST_CLEARED]
    chosen: list[tuple[Run, clearing.ClearRequest, list[TaskInstance]]] = []
    for run in runs:
        wanted = clearing.ClearRequest(dag_id=run.dag_id, run_pks=[run.pk], only_failed=True)
        if found := clearing.preview(wanted):
            chosen.append((run, wanted, found))
    total = sum(len(found) for _, _, found in chosen)
    if not error and request.POST.get("go") and request.POST.get("seen") != str(total):
        error = _("Things moved while you looked: these are the new numbers.")
    elif not error and request.POST.get("go") and chosen:
        actor = actor_of(request)
        with translation.override("en"):  # it is kept
            what = f"Clear {words.plural(total, 'task')} of {words.plural(len(chosen), 'DAG')}"
        try:
            cleared, kept = undo.remembering(
                lambda: [ti for _, wanted, _ in chosen for ti in clearing.clear(wanted, actor=actor)],
                sorted(run.pk for run, _, _ in chosen), [ti for _, _, found in chosen for ti in found], what, actor,
            )  # fmt: skip
            return done(
                request,
                _("%(tasks)s will run again.") % {"tasks": words.plural(len(cleared), "task")},
                reverse("dags"),
                state="queued",
                undo=kept,
            )
        except ActionRefused as e:
            error = words_of(e)
    verb = _("Clear %(tasks)s of %(dags)s") % {"tasks": words.plural(total, "failed task"), "dags": words.plural(len(chosen), "DAG")}
    context = {
        "chosen": [(run, len(found), [ti.task_id for ti in found[:3]], len(found) - 3) for run, _, found in chosen], "total": total,
        "denied": denied, "error": error,
        "back": reverse("dags"), "subject": verb, "verb": verb,
        "asleep": sum(run.dag.is_paused for run, _, _ in chosen), "unchanged": len(names) - len(chosen),
    }  # fmt: skip
    return dialog(request, "ui/_dlg_bulk_clear.html", context, status=422 if error else 200)


def _act(request: HttpRequest, do: str, names: list[str]) -> HttpResponse:
    if do != "trigger":
        kept = set_paused(names, do == "pause", actor_of(request))
        told = _("%(dags)s paused; running tasks finish.") if do == "pause" else _("%(dags)s on schedule again.")
        text = told % {"dags": words.plural(len(names), "DAG")}
        return done(request, text, reverse("dags"), undo=kept)
    return _trigger(request, names)


def _trigger(request: HttpRequest, names: list[str]) -> HttpResponse:
    from apps.runs.actions import creation

    refused = []
    for name in names:
        try:
            with transaction.atomic():
                creation.trigger(name, actor=actor_of(request), triggered_by="ui")
        except ActionRefused as e:
            refused.append(f"{name}: {words_of(e)}")
    text = _("%(runs)s queued.") % {"runs": words.plural(len(names) - len(refused), "run")}
    if refused:
        text += _(" Not triggered: %(refused)s") % {"refused": "; ".join(refused[:5])}
    return done(request, text, reverse("dags"), bad=bool(refused))
