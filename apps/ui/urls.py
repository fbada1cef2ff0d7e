"""URLs of the pages: a path names the object, the query string filters and selection."""

from __future__ import annotations

from django.urls import path
from django.views.i18n import set_language

from apps.ui.views import (
    actions,
    assets,
    audit,
    backfills,
    browse,
    bulk,
    code,
    compare,
    dag,
    dags,
    data,
    dialogs,
    find,
    home,
    languages,
    logs,
    processes,
    questions,
    run,
    saved,
    task,
    trends,
)

_RUN = "dags/<str:dag_id>/runs/<str:run_id>"
_TASK = f"{_RUN}/tasks/<str:task_id>"

urlpatterns = [
    path("", home.home, name="home"),
    path("dags", dags.dags, name="dags"),
    path("dags-bulk", bulk.dags, name="dags_bulk"),
    path("runs", run.runs, name="runs"),
    path("tasks", browse.tasks, name="tasks"),
    path("audit", audit.trail, name="audit"),
    path("processes", processes.processes, name="processes"),
    path("data", assets.status, name="data_status"),
    path("data/badge/<str:signed>.svg", assets.badge, name="data_badge"),
    path("assets", assets.assets, name="assets"),
    path("assets/<int:asset_pk>", assets.asset, name="asset"),
    path("assets/<int:asset_pk>/materialize", assets.materialize, name="asset_materialize"),
    path("assets/<int:asset_pk>/event", assets.add_event, name="asset_event"),
    path("required-actions", questions.required_actions, name="required_actions"),
    path("import-errors", home.import_errors, name="import_errors"),
    path("import-errors/<int:file_pk>/reparse", actions.reparse, name="reparse"),
    path("views/<str:name>", saved.views, name="saved_views"),
    path("views/<str:name>/<int:view_pk>/delete", saved.delete, name="saved_view_delete"),
    path("undo/<uuid:undo_pk>", actions.undo, name="undo"),
    # one DAG
    path("dags/<str:dag_id>", dag.grid, name="dag"),
    path("dags/<str:dag_id>/head", dag.head_alone, name="dag_head"),
    path("dags/<str:dag_id>/graph", dag.graph, name="dag_graph"),
    path("dags/<str:dag_id>/runs", dag.runs, name="dag_runs"),
    path("dags/<str:dag_id>/calendar", dag.calendar, name="dag_calendar"),
    path("dags/<str:dag_id>/backfills", backfills.backfills, name="dag_backfills"),
    path("dags/<str:dag_id>/backfill", backfills.create, name="dag_backfill"),
    path("dags/<str:dag_id>/backfills/<int:backfill_id>", backfills.change, name="dag_backfill_change"),
    path("dags/<str:dag_id>/tasks", dag.tasks, name="dag_tasks"),
    path("dags/<str:dag_id>/trends", trends.trends, name="dag_trends"),
    path("dags/<str:dag_id>/code", code.code, name="dag_code"),
    path("dags/<str:dag_id>/audit", audit.of_dag, name="dag_audit"),
    path("dags/<str:dag_id>/details", dag.details, name="dag_details"),
    path("dags/<str:dag_id>/pause", actions.pause, name="dag_pause"),
    path("dags/<str:dag_id>/star", bulk.star, name="dag_star"),
    path("dags/<str:dag_id>/trigger", dialogs.trigger, name="dag_trigger"),
    # one run
    path(_RUN, run.run, name="run"),
    path(f"{_RUN}/panel", run.panel, name="run_panel"),
    path(f"{_RUN}/compare", compare.compare, name="run_compare"),
    path(f"{_RUN}/clear", dialogs.clear_run, name="run_clear"),
    path(f"{_RUN}/mark", dialogs.mark_run, name="run_mark"),
    path(f"{_RUN}/note", dialogs.run_note, name="run_note"),
    # one task of a run
    path(_TASK, task.task, name="task"),
    path(f"{_TASK}/panel", task.panel, name="task_panel"),
    path(f"{_TASK}/clear", dialogs.clear_task, name="task_clear"),
    path(f"{_TASK}/mark", dialogs.mark_task, name="task_mark"),
    path(f"{_TASK}/answer", questions.answer, name="task_answer"),
    path(f"{_TASK}/note", dialogs.task_note, name="task_note"),
    path("language", set_language, name="set_language"),
    # data for the islands
    path("ui/words/<str:language>-<str:version>.js", languages.words, name="words"),
    path("ui/grid/<str:dag_id>", data.grid, name="grid_data"),
    path("ui/graph/<str:dag_id>", data.graph, name="graph_data"),
    path("ui/tip/<int:run_pk>/<str:task_id>", data.tip, name="tip_data"),
    path("ui/rows", dags.rows, name="dag_rows"),
    path("ui/find", find.find, name="find_data"),
    path("ui/log/<uuid:try_id>.txt", logs.log_text, name="log_text"),
    path("ui/log/<uuid:try_id>", logs.about, name="log_about"),
    path("ui/log/<uuid:try_id>/lines", logs.lines, name="log_lines"),
    path("ui/log/<uuid:try_id>/search", logs.search, name="log_search"),
]
