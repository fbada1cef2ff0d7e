"""Home and the list of files that do not load."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from apps.dags.models import ImportProblem
from apps.ui import rights, words
from apps.ui.live import cursor
from apps.ui.page import page, show
from apps.ui.queries import home as queries


@page()
def home(request: HttpRequest) -> HttpResponse:
    """What needs somebody, what runs, whether the machine is well."""
    position = cursor.take()
    board = queries.board(request.user)
    return show(
        request, "ui/home.html", {"cursor": position, **board, **_verdict(board)}, nav="home", title=_("Home"), crumbs=[(_("Home"), "")]
    )


def _verdict(board: dict[str, Any]) -> dict[str, str]:
    """The page's answer in one line."""
    failing, stuck, asking = board["causes"].failing, board["causes"].stuck, board["causes"].asking
    problems = len(board["problems"])
    stopped = [str(h["name"]) for h in board["health"] if h["state"] == "failed" and h["name"] != _("DAG files")]
    parts = []
    if stopped:
        parts.append(
            _("%(stopped)s not running") % {"stopped": _(" and ").join(stopped)}
            if len(stopped) < 3
            else _("Nothing schedules or runs tasks")
        )
    if failing:
        parts.append(words.plural(failing, "DAG fails", "DAGs fail"))
    if stuck:
        parts.append(words.plural(stuck, "task is stuck", "tasks are stuck"))
    if asking:
        parts.append(words.plural(asking, "task waits for an answer", "tasks wait for an answer"))
    if problems:
        parts.append(words.plural(problems, "file does not load", "files do not load"))
    if board["late"]:
        parts.append(_("%(runs)s late") % {"runs": words.plural(len(board["late"]), "run")})
    day = board["day"]
    more = _("%(runs)s going; %(total)s in the last 24 hours, ") % {
        "runs": words.plural(day["going"], "run"),
        "total": words.number(day["total"]),
    }
    more += _("%(failed)s of them failed.") % {"failed": words.number(day["failed"])}
    return {"verdict": ", ".join(parts) or _("All is well"), "verdict_state": "failed" if parts else "success", "verdict_more": more}


@page(read="dag")
def import_errors(request: HttpRequest) -> HttpResponse:
    """Every file that gives no DAGs, with the message and the traceback."""
    if not rights.allowed(request.user, "read", "import_error"):
        problems: list[ImportProblem] = []
    else:
        problems = list(ImportProblem.objects.select_related("file").order_by("-at")[:200])
    context = {"problems": problems, "can_edit": rights.allowed(request.user, "edit", "dag")}
    return show(request, "ui/import_errors.html", context, nav="import_errors", title=_("Import errors"), crumbs=[(_("Import errors"), "")])
