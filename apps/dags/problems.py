"""Import problems and warnings of a file: replaced at every parse, but rows that say the same stay as they are.

For `storing`. A problem that persists keeps its id and time, so that lists do not flicker and "since" means since.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from typing import Any

from apps.dags import hooks
from apps.dags.models import Dag, DagFile, DagWarning, ImportProblem
from trackside.runner.parsing import ParseProblem

VARYING = "runtime varying value"
"""Kind of warning: the DAG comes out differently although its file is unchanged."""

_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")


def replace_problems(file: DagFile, problems: Collection[ParseProblem], now: datetime) -> bool:
    """Make the rows of the file say `problems`. True if the set changed."""
    left = list(ImportProblem.objects.filter(file=file).order_by("id"))
    new: list[ImportProblem] = []
    for problem in problems:
        same = next((row for row in left if _key(row) == _key(problem)), None)
        if same is None:
            new.append(
                ImportProblem(
                    file=file,
                    at=now,
                    message=problem.message,
                    lineno=problem.lineno,
                    stacktrace=problem.traceback,
                    dag_id=problem.dag_id,
                )
            )
            continue
        left.remove(same)
        if same.stacktrace != problem.traceback:
            same.stacktrace, same.message = problem.traceback, problem.message
            same.save(update_fields=["stacktrace", "message"])
    if left:
        ImportProblem.objects.filter(pk__in=[row.pk for row in left]).delete()
    if new:
        event = "on_existing_dag_import_error" if left else "on_new_dag_import_error"
        hooks.user_event(event, {}, {"filename": file.path, "stacktrace": new[0].stacktrace or new[0].message})
        ImportProblem.objects.bulk_create(new)
    return bool(left or new)


def _key(problem: ImportProblem | ParseProblem) -> tuple[str, int | None, str | None]:
    return _ADDRESS.sub("0x…", problem.message), problem.lineno, problem.dag_id


def replace_warnings(
    new: Collection[Dag], old: Collection[Dag], warnings: Collection[dict[str, Any]], now: datetime
) -> None:
    """Make the warnings of DAGs (`new`: just inserted) say `warnings`; one without a DAG belongs to all of them.

    Several of one kind become one, a line each. Kinds that other writers own (`FOREIGN`) stay.
    """
    wanted: dict[tuple[str, str], list[str]] = {}
    for warning in warnings:
        line = f" (line {warning['lineno']})" if warning.get("lineno") else ""
        named = warning.get("dag_id")
        for dag in (*new, *old):
            if named in (None, dag.dag_id):
                key = (dag.dag_id, str(warning.get("kind") or VARYING)[:50])
                lines = wanted.setdefault(key, [])
                if (text := f"{warning['message']}{line}") not in lines:
                    lines.append(text)
    texts = {key: "\n".join(lines) for key, lines in wanted.items()}
    for row in DagWarning.objects.filter(dag__in=[d.pk for d in old]).exclude(kind__in=FOREIGN):
        if (text := texts.pop((row.dag_id, row.kind), "")) == "":
            row.delete()
        elif text != row.message:
            row.message, row.at = text, now
            row.save(update_fields=["message", "at"])
    DagWarning.objects.bulk_create(
        [DagWarning(dag_id=dag_id, kind=kind, message=text, at=now) for (dag_id, kind), text in texts.items()],
        ignore_conflicts=True,
    )


FOREIGN = ("non-existent pool", "asset conflict")
"""Kinds of warnings that are not about the file."""
