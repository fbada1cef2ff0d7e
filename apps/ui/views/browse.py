"""Task instances of all DAGs: what waits, and why. The filters live in the URL."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from apps.ui.live import cursor
from apps.ui.page import page, show
from apps.ui.queries import browse as queries
from apps.ui.views import saved
from trackside.core.states import TaskState


@page()
def tasks(request: HttpRequest) -> HttpResponse:
    """`?state=`, `?dag=` (with `*` a part of the id), `?pool=`, `?operator=` (a part of it), `?days=`."""
    elsewhere, default = saved.at_first(request, "tasks")
    if elsewhere is not None:
        return elsewhere
    position = cursor.take()
    get = request.GET.get
    before, days = get("before", ""), get("days", queries.USUAL_DAYS)
    wanted = queries.Filters(
        state=get("state", ""), dag=get("dag", "").strip(), pool=get("pool", ""), operator=get("operator", "").strip(),
        days=days if days in queries.DAYS else queries.USUAL_DAYS, before=int(before) if before.isdecimal() and len(before) < 19 else None,
    )  # fmt: skip
    rows, following = queries.task_instances(request.user, wanted)
    context = {
        "rows": rows, "next": following, "wanted": wanted, "filtered": bool(wanted), "cursor": position, "pools": queries.pools(),
        "states": [str(s) for s in TaskState], "days": queries.DAYS.items(), **default,
    }  # fmt: skip
    return show(request, "ui/tasks.html", context, nav="tasks", title=_("Task instances"), crumbs=[(_("Task instances"), "")])
