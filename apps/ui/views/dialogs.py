"""Dialogs: trigger, clear, mark, note. The same URL is a page without scripts and a fragment inside one.

GET shows the form; POST with `go` acts, without it previews again. What is executed is counted again first: when it is
not what was shown, the dialog comes back with the new numbers instead of acting.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from apps.dags import catalogue
from apps.runs.errors import ActionRefused, Invalid
from apps.runs.models import Run
from apps.ui import params, prefill, previews, sentences, words
from apps.ui.page import actor_of, page, show, wants_fragment
from apps.ui.queries import runs as run_queries
from apps.ui.queries import tasks as task_queries
from apps.ui.views.actions import done, words_of
from apps.ui.views.dag import get_dag, head


def dialog(request: HttpRequest, template: str, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    """A fragment for the shell, else a page around the same form."""
    context = {"action": request.get_full_path(), **context}
    if wants_fragment(request):
        return render(request, template, context, status=status)
    crumbs = [("DAGs", reverse("dags")), (context.get("subject", _("Action")), "")]
    return show(
        request,
        "ui/dialog_page.html",
        {**context, "dialog_template": template},
        nav="dags",
        title=context.get("subject", _("Action")),
        crumbs=crumbs,
        status=status,
    )


# --- trigger --------------------------------------------------------------------------------------------------------
@page(read="run", action="trigger")
def trigger(request: HttpRequest, dag_id: str) -> HttpResponse:
    """The form of the DAG's params; POST creates the run. `?conf_of=<run id>` starts from an earlier run's conf, `prefill` from a link."""
    dag = get_dag(dag_id)
    info = head(dag, "")
    structure = info["structure"]
    earlier = Run.objects.filter(dag=dag, run_id=request.GET.get("conf_of", "")).first() if request.GET.get("conf_of") else None
    declared = structure.params if structure else {}
    linked, beside = prefill.of_trigger(declared, request.GET)
    form = params.fields(declared, {**(earlier.conf if earlier else {}), **linked})
    context: dict[str, Any] = {
        **info,
        "fields": form,
        "given": request.POST if request.method == "POST" else beside,
        "back": reverse("dag", args=[dag_id]),
        "subject": _("Trigger %(dag_id)s") % {"dag_id": dag_id},
    }
    status = 200
    if request.method == "POST":
        try:
            if request.POST.get("copy"):  # the form again, with the calls for what it says
                params.read(form, request.POST)
            else:
                return _triggered(request, _trigger(request, dag_id, form))
        except ActionRefused as e:
            context.update(_at_field(e, form))
            status = 422
    context["active"] = Run.objects.filter(dag=dag, state__in=("queued", "running")).count()
    return dialog(request, "ui/_dlg_trigger.html", context, status=status)


def _triggered(request: HttpRequest, run: Run) -> HttpResponse:
    return done(
        request,
        _("Run of %(run_after)s is queued.") % {"run_after": words.moment(run.run_after)},
        reverse("run", args=[run.dag_id, run.run_id]),
        state="queued",
    )


def _trigger(request: HttpRequest, dag_id: str, form: list[params.ParamField]) -> Run:
    from apps.runs.actions import creation

    conf = params.read(form, request.POST)
    if text := request.POST.get("conf", "").strip():
        conf |= params.parse_conf(text)
    logical = request.POST.get("logical_date", "").strip()
    try:
        logical_date = datetime.fromisoformat(logical).replace(tzinfo=UTC) if logical else None
    except ValueError:
        raise Invalid(f"{logical} is not a date and time.", field="logical_date") from None
    run = creation.trigger(
        dag_id,
        actor=actor_of(request),
        run_id=request.POST.get("run_id", "").strip() or None,
        logical_date=logical_date,
        conf=conf,
        note=request.POST.get("note", "").strip() or None,
        triggered_by="ui",
    )
    if request.POST.get("unpause") == "on":
        catalogue.set_paused([dag_id], False, actor=actor_of(request))
    return run


def _at_field(error: ActionRefused, form: list[params.ParamField]) -> dict[str, Any]:
    """The refusal at its field when the form has it, else on top."""
    name = error.field or ""
    for f in form:
        if name in (f"conf.{f.name}", f"params.{f.name}", f.name):
            f.error = sentences.told(str(error.detail).removeprefix(f"Invalid input for param {f.name}: "))
            return {"error": ""}
    bad = "run_id" if name in ("run_id", "dag_run_id") else name
    return {"error": words_of(error), "bad_field": bad, "advanced_open": bad in ("run_id", "logical_date", "conf")}


# --- clear ----------------------------------------------------------------------------------------------------------
@page(read="run", action="edit")
def clear_run(request: HttpRequest, dag_id: str, run_id: str) -> HttpResponse:
    """Clear (parts of) a run."""
    return _clear(request, dag_id, run_id, None)


@page(read="task", action="edit")
def clear_task(request: HttpRequest, dag_id: str, run_id: str, task_id: str) -> HttpResponse:
    """Clear one task, with what hangs on it."""
    return _clear(request, dag_id, run_id, task_id)


def _clear(request: HttpRequest, dag_id: str, run_id: str, task_id: str | None) -> HttpResponse:
    from apps.runs.actions import clearing, undo

    run = run_queries.get(dag_id, run_id)
    chosen = previews.clear_choice(request, task_id)
    wanted = previews.clear_request(run, task_id, chosen)
    error = ""
    try:
        found = clearing.preview(wanted)
    except ActionRefused as e:
        found, error = [], words_of(e)
    home = reverse("run", args=[dag_id, run_id]) if task_id is None else reverse("task", args=[dag_id, run_id, task_id])
    if request.method == "POST" and request.POST.get("go") and not error:
        if request.POST.get("seen") != str(len(found)):
            error = _("Things moved while you looked: these are the new numbers.")
        elif not found:
            error = _("Nothing to clear: no task instance matches.")
        else:
            try:
                with translation.override("en"):  # it is kept
                    what = f"Clear {words.plural(len(found), 'task')} of {dag_id}"
                actor = actor_of(request)
                cleared, kept = undo.remembering(
                    lambda: clearing.clear(wanted, actor=actor), {ti.run_id for ti in found}, found, what, actor
                )
                return done(
                    request, _("%(tasks)s will run again.") % {"tasks": words.plural(len(cleared), "task")}, home, state="queued", undo=kept
                )
            except ActionRefused as e:
                error = words_of(e)
    newest = run.dag.current_version
    context = {
        "run": run,
        "task_id": task_id,
        "map_index": chosen["map_index"],
        "chosen": chosen,
        "whats": previews.whats(task_id),
        "back": home,
        "error": error,
        "subject": _("Clear %(run_id)s") % {"run_id": task_id or run_id},
        "newest": newest.number if newest else None,
        **previews.summary(found, pgettext("with a number of tasks", "Clear"), _("will run again")),
        "consequences": previews.clear_consequences(run, found, chosen),
    }
    return _preview_or_dialog(request, "ui/_dlg_clear.html", context, error)


def _preview_or_dialog(request: HttpRequest, template: str, context: dict[str, Any], error: str) -> HttpResponse:
    if wants_fragment(request) and request.headers.get("HX-Target") == "clear-preview":
        return render(request, "ui/_clear_preview.html", context)
    return dialog(request, template, context, status=422 if error and request.method == "POST" else 200)


# --- mark -----------------------------------------------------------------------------------------------------------
@page(read="run", action="edit")
def mark_run(request: HttpRequest, dag_id: str, run_id: str) -> HttpResponse:
    """Say how a run ended, or queue it again."""
    from apps.runs.actions import marking, undo

    run = run_queries.get(dag_id, run_id)
    chosen = {
        "state": request.POST.get("state") or request.GET.get("state") or ("failed" if run.state == "running" else "success"),
        "note": request.POST.get("note", ""),
    }
    error, found, told = "", [], []
    try:
        plan = marking.plan_run(run, chosen["state"])
        found, told = [*plan.ended, *plan.skipped], previews.run_consequences(run, chosen["state"], plan)
        if request.method == "POST" and request.POST.get("go"):
            note = {"note": chosen["note"].strip()} if chosen["note"].strip() else {}
            actor = actor_of(request)
            with translation.override("en"):  # it is kept
                what = f"Mark the run {words.said(chosen['state'])}"
            _marked, kept = undo.remembering(
                lambda: marking.mark_run(run, chosen["state"], actor=actor, **note), [run.pk], found, what, actor
            )
            return done(
                request,
                _("The run is marked %(state)s.") % {"state": words.said(chosen["state"])},
                reverse("run", args=[dag_id, run_id]),
                state=chosen["state"],
                undo=kept,
            )
    except ActionRefused as e:
        error = words_of(e)
    context = {
        "run": run,
        "task_id": None,
        "chosen": chosen,
        "states": ["success", "failed", "queued"],
        "back": reverse("run", args=[dag_id, run_id]),
        "error": error,
        "subject": _("Mark %(run_id)s") % {"run_id": run_id},
        **previews.summary(found, pgettext("with a number of tasks", "Mark"), _("change with it")),
        "consequences": told,
    }
    return _preview_or_dialog(request, "ui/_dlg_mark.html", context, error)


@page(read="task", action="edit")
def mark_task(request: HttpRequest, dag_id: str, run_id: str, task_id: str) -> HttpResponse:
    """Say how a task ended, with what hangs on it."""
    from apps.runs.actions import marking, undo

    run = run_queries.get(dag_id, run_id)
    ti = task_queries.get(run, task_id, previews.map_index(request))
    chosen = previews.mark_choice(request, ti.state)
    wanted = previews.mark_request(run, task_id, chosen)
    home = reverse("task", args=[dag_id, run_id, task_id])
    error, found = "", []
    try:
        found = list(marking.preview(wanted))
        if request.method == "POST" and request.POST.get("go"):
            if request.POST.get("seen") != str(len(found)):
                error = _("Things moved while you looked: these are the new numbers.")
            else:
                actor = actor_of(request)
                with translation.override("en"):  # it is kept
                    what = f"Mark {words.plural(len(found), 'task')} {words.said(chosen['state'])}"
                run_pks = {ti.run_id for ti in found} | {run.pk}
                marked, kept = undo.remembering(lambda: marking.mark(wanted, actor=actor), run_pks, found, what, actor)
                return done(
                    request,
                    _("%(tasks)s marked %(state)s.") % {"tasks": words.plural(len(marked), "task"), "state": words.said(chosen["state"])},
                    home,
                    state=chosen["state"],
                    undo=kept,
                )
    except ActionRefused as e:
        error = words_of(e)
    context = {
        "run": run,
        "task_id": task_id,
        "chosen": chosen,
        "states": ["success", "failed", "skipped"],
        "back": home,
        "error": error,
        "also": [(k, text, chosen[k]) for k, text in previews.ALSO],
        "subject": _("Mark %(task_id)s") % {"task_id": task_id},
        **previews.summary(
            found, pgettext("with a number of tasks", "Mark"), _("become %(state)s") % {"state": words.said(chosen["state"])}
        ),
        "consequences": previews.mark_consequences(chosen["state"], found),
    }
    return _preview_or_dialog(request, "ui/_dlg_mark.html", context, error)


# --- notes ----------------------------------------------------------------------------------------------------------
@page(read="run", action="edit")
def run_note(request: HttpRequest, dag_id: str, run_id: str) -> HttpResponse:
    """The note of a run."""
    from apps.runs.actions import notes

    run = run_queries.get(dag_id, run_id)
    home, error = reverse("run", args=[dag_id, run_id]), ""
    if request.method == "POST" and not request.POST.get("copy"):
        try:
            notes.set_run_note(run, request.POST.get("note", "").strip(), actor=actor_of(request))
            return done(request, _("The note is saved."), home)
        except ActionRefused as e:
            error = words_of(e)
    context = {
        "subject": _("run of %(run_after)s") % {"run_after": words.moment(run.run_after)},
        "note": request.POST.get("note", run.note or ""),
        "back": home,
        "error": error,
    }
    return dialog(request, "ui/_dlg_note.html", context)


@page(read="task", action="edit")
def task_note(request: HttpRequest, dag_id: str, run_id: str, task_id: str) -> HttpResponse:
    """The note of a task instance."""
    from apps.runs.actions import notes

    run = run_queries.get(dag_id, run_id)
    ti = task_queries.get(run, task_id, previews.map_index(request))
    home, error = reverse("task", args=[dag_id, run_id, task_id]) + (f"?map_index={ti.map_index}" if ti.map_index >= 0 else ""), ""
    if request.method == "POST" and not request.POST.get("copy"):
        try:
            notes.set_task_note([ti], request.POST.get("note", "").strip(), actor=actor_of(request))
            return done(request, _("The note is saved."), home)
        except ActionRefused as e:
            error = words_of(e)
    context = {"subject": task_id, "note": request.POST.get("note", ti.note or ""), "back": home, "error": error}
    return dialog(request, "ui/_dlg_note.html", context)
