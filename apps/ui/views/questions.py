"""Required actions: what tasks ask people, and the form that answers. The domain call is `questions.answering.respond`."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from apps.runs.errors import ActionRefused, Invalid, NotFound
from apps.runs.models import HITLDetail
from apps.runs.questions import answering
from apps.ui import params, prefill, previews, rights
from apps.ui.live import cursor
from apps.ui.page import actor_of, page, show
from apps.ui.queries import questions as queries
from apps.ui.queries import runs as run_queries
from apps.ui.queries import tasks as task_queries
from apps.ui.views.actions import done, words_of
from apps.ui.views.dialogs import dialog
from trackside.core.states import TaskState


@page()
def required_actions(request: HttpRequest) -> HttpResponse:
    """Open questions; `?view=answered` shows what people said before."""
    position, past = cursor.take(), request.GET.get("view") == "answered"
    rows = queries.answered(request.user) if past else queries.waiting(request.user)
    for row in rows:
        row.asked = [str(u.get("name") or u.get("id")) for u in row.assigned_users if isinstance(u, dict)]  # type: ignore[attr-defined]
        row.mine = _may_answer(request, row)  # type: ignore[attr-defined]
    context = {"rows": rows, "past": past, "cursor": position, "waiting": queries.count(request.user) if past else len(rows)}
    return show(
        request, "ui/required_actions.html", context, nav="actions", title=_("Required actions"), crumbs=[(_("Required actions"), "")]
    )


def _may_answer(request: HttpRequest, row: HITLDetail) -> bool:
    asked = [str(u.get("id")) for u in row.assigned_users if isinstance(u, dict)]
    named = not asked or request.user.get_username() in asked
    return named and rights.allowed(request.user, "edit", "hitl", row.ti.dag_id)


@page(read="hitl", action="edit")
def answer(request: HttpRequest, dag_id: str, run_id: str, task_id: str) -> HttpResponse:
    """The question with its options and fields; POST answers it. The first answer counts. A link may fill it in (`prefill`)."""
    run = run_queries.get(dag_id, run_id)
    ti = task_queries.get(run, task_id, previews.map_index(request))
    asked = queries.of(ti)
    if asked is None:
        raise NotFound(f"{task_id} asks nothing. The page of the task shows what it does.")
    form = params.fields(asked.params, asked.params_input if asked.responded_at else prefill.of_params(asked.params, request.GET))
    linked = [] if asked.responded_at else request.GET.getlist(prefill.OPTIONS)
    chosen = request.POST.getlist("option") if request.method == "POST" else (linked or asked.chosen_options or asked.defaults or [])
    home = reverse("task", args=[dag_id, run_id, task_id]) + (f"?map_index={ti.map_index}" if ti.map_index >= 0 else "")
    error, status = "", 200
    if request.method == "POST":
        try:
            answering.respond(asked, _chosen(chosen, asked), params.read(form, request.POST), actor=actor_of(request))
            return done(request, _("Answered: %(task_id)s goes on.") % {"task_id": task_id}, home, state="queued")
        except ActionRefused as e:
            error, status = _at_field(e, form), 422 if e.status < 500 else e.status
    context: dict[str, Any] = {
        "subject": _("Answer %(task_id)s") % {"task_id": task_id},
        "question": asked,
        "ti": ti,
        "run": run,
        "dag": run.dag,
        "fields": form,
        "chosen": chosen,
        "error": error,
        "back": home,
        "open": asked.responded_at is None and ti.state == TaskState.AWAITING_INPUT,
    }
    return dialog(request, "ui/_dlg_answer.html", context, status=status)


def _chosen(chosen: list[str], asked: HITLDetail) -> list[str]:
    if not chosen and asked.options:
        raise Invalid("Choose one of the options." if not asked.multiple else "Choose at least one of the options.", field="option")
    return chosen


def _at_field(error: ActionRefused, form: list[params.ParamField]) -> str:
    """The refusal, moved to its field if it begins with the name of one."""
    said = words_of(error)
    name, colon, rest = said.partition(": ")
    for field in form:
        if colon and field.name == name:
            field.error = rest
            return ""
    return said
