"""`trackside tasks test|render|list` on a folder of DAG files: no server, no database."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from trackside.cli import dags_local, folder, output, values
from trackside.cli.words import Problem, Verbs, add, group


def test(given: argparse.Namespace, rest: list[str]) -> int:
    """One try of one task, whatever it depends on. 0: success or skipped; 1: failed."""
    from trackside.sdk.inprocess import try_task

    dag, others = folder.load(given, given.dag_id)
    os.environ.update(values.as_object(given.env_vars, "--env-vars") or {})
    result = dags_local.refused_as_problem(try_task, dag, _task(dag, given.task_id), **_arguments(given), others=others)
    value = result.xcom_pull()
    answer = {
        "task": given.task_id, "state": result.state, "seconds": round(result.duration, 2), "error": result.error,
        "return_value": value, "rendered_fields": result.rendered_fields, "asset_events": result.asset_events,
    }  # fmt: skip
    if given.output not in ("json", "yaml"):
        answer = {name: value for name, value in answer.items() if value not in (None, {}, [])}
    output.show_one(answer, given.output)
    return 0 if result.state in ("success", "skipped") else 1


def render(given: argparse.Namespace, rest: list[str]) -> int:
    """The template fields of a task, rendered; nothing runs."""
    from trackside.sdk.inprocess import render_task

    dag, others = folder.load(given, given.dag_id)
    try:
        fields = render_task(dag, _task(dag, given.task_id), **_arguments(given), others=others)
    except Problem:
        raise
    except Exception as error:
        raise Problem(f"{given.dag_id}.{given.task_id} cannot be rendered: {type(error).__name__}: {error}") from None
    from trackside.sdk.log import redact

    fields = redact(fields)
    if given.output in ("json", "yaml"):
        output.show_one(fields, given.output)
        return 0
    for name, value in fields.items():
        text = value if isinstance(value, str) else json.dumps(value, indent=2, default=str)
        print(f"# {name}\n{text}\n")
    return 0


def list_(given: argparse.Namespace, rest: list[str]) -> int:
    """The tasks of a DAG in the order in which they may run; with --run task instances of the server."""
    if given.run:
        from trackside.cli import remote

        return remote.tasks_of_run(given)
    from trackside.core.snapshot import CompiledDag
    from trackside.sdk.serialization import to_spec

    dag, _ = folder.load(given, given.dag_id)
    compiled = CompiledDag(to_spec(dag))
    rows = []
    for task_id in compiled.graph.order:
        task = compiled.graph.tasks[task_id]
        rows.append(
            {
                "task_id": task_id, "operator": task.operator, "trigger_rule": task.trigger_rule, "retries": task.retries,
                "mapped": task.mapped or bool(task.mapped_group_id), "group": task.group_id,
                "upstream": list(compiled.graph.upstream[task_id]),
            }
        )  # fmt: skip
    output.show(rows, ("task_id", "operator", "trigger_rule", "retries", "mapped", "group", "upstream"), given.output)
    return 0


def _task(dag: Any, task_id: str) -> str:
    if not dag.has_task(task_id):
        raise Problem(f"DAG {dag.dag_id!r} has no task {task_id!r}; it has {', '.join(sorted(dag.task_ids))}")
    return task_id


def _arguments(given: argparse.Namespace) -> dict[str, Any]:
    xcoms = {}
    for task_id, text in values.pairs(given.xcom, "--xcom").items():
        try:
            xcoms[task_id] = json.loads(text)
        except ValueError:
            xcoms[task_id] = text
    return {
        "map_index": given.map_index,
        "logical_date": values.moment(given.logical_date),
        "run_conf": values.as_object(given.conf, "--conf"),
        "task_params": values.as_object(given.task_params, "--task-params"),
        "conn_file_path": given.connections,
        "variable_file_path": given.variables,
        "xcoms": xcoms,
    }


def add_to(verbs: Verbs) -> None:
    """The words of these commands."""
    tasks = group(verbs, "tasks", "tasks: of a folder here, or of a server")
    for name, verb, text in (
        ("test", test, "run one task once in this process, whatever it depends on"),
        ("render", render, "show a task's template fields rendered, without running it"),
    ):
        one = add(tasks, name, verb, text)
        one.add_argument("dag_id")
        one.add_argument("task_id")
        one.add_argument("logical_date", nargs="?", help="2026-03-09T00:00:00, or none (now)")
        dags_local.add_run_options(one)
        one.add_argument("--map-index", type=int, default=-1, help="index of a mapped task")
        one.add_argument("-t", "--task-params", metavar="JSON", help="params, over those of the conf")
        one.add_argument("--xcom", action="append", default=[], metavar="TASK=JSON", help="return value of another task")
        one.add_argument("--env-vars", metavar="JSON", help="environment for the task")
    one = add(tasks, "list", list_, "the tasks of a DAG in the order in which they may run")
    one.add_argument("dag_id")
    one.add_argument("-f", "--dagfile-path", dest="dagfile", help="the file with the DAG, when the folder need not be searched")
    folder.add_folder(one)
    output.add_output(one)
    one.add_argument("--run", metavar="RUN_ID", help="the task instances of this run at the server")
