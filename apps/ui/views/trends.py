"""The tab Trends of a DAG: is it getting slower, how often does it fail, where does the time go."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from apps.ui import words
from apps.ui.page import page
from apps.ui.queries import trends as queries
from apps.ui.views.dag import get_dag, show_tab

NOTICEABLE = 10
"""Per cent by which newer runs must differ to be called slower or faster."""


@page()
def trends(request: HttpRequest, dag_id: str) -> HttpResponse:
    """Bars of the last runs, then the tasks that take most of the time."""
    dag = get_dag(dag_id)
    found = queries.runs(dag_id)
    told = queries.numbers(found)
    context = {
        "chart": queries.chart(found), "numbers": told, "tasks": queries.tasks(dag_id) if found else [], "verdict": _verdict(told),
        "limit": queries.RUNS,
    }  # fmt: skip
    return show_tab(request, dag, "trends", "ui/dag_trends.html", context)


def _verdict(told: dict[str, Any]) -> str:
    if not told["ended"]:
        return _("No run has ended yet.")
    said = _("%(failed)s of the last %(runs)s succeeded") % {
        "failed": told["ended"] - told["failed"],
        "runs": words.plural(told["ended"], "run"),
    }
    said += _(", usually in %(usual)s.") % {"usual": words.duration(told["usual"])} if told["usual"] is not None else "."
    change = told["change"]
    if change is not None:
        said += (
            _(" The last %(recent)s took %(change)s %% %(less)s than those before.")
            % {"recent": queries.RECENT, "change": abs(change), "less": _("longer") if change > 0 else _("less")}
            if abs(change) >= NOTICEABLE
            else _(" The last %(recent)s took about as long as those before.") % {"recent": queries.RECENT}
        )
    return said
