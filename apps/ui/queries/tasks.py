"""One task in one run: its instances (mapped or not), its tries, what it left behind."""

from __future__ import annotations

import json
from typing import Any

from django.db.models import Count

from apps.access.masking import mask, mask_beginning
from apps.runs.errors import NotFound
from apps.runs.models import Run, TaskInstance, Try, XCom
from apps.ui import valuetree, words

MAPPED_SHOWN = 500
XCOMS = 200
XCOM_SHOWN = 4000
"""Characters of one value on the page; the rest is a download away through REST."""


def get(run: Run, task_id: str, map_index: int | None) -> TaskInstance:
    """The task instance; without a map index the first one. Raises NotFound."""
    found = (
        TaskInstance.objects.filter(run=run, task_id=task_id)
        .select_related("dag_version")
        .defer("dag_version__spec", "dag_version__source")
    )
    ti = found.filter(map_index=map_index).first() if map_index is not None else found.order_by("map_index").first()
    if ti is None:
        index = f"[{map_index}]" if map_index is not None and map_index >= 0 else ""
        raise NotFound(f"Run {run.run_id} has no task {task_id}{index}. The page of the run lists the tasks that it has.")
    return ti


def siblings(run: Run, task_id: str) -> tuple[list[TaskInstance], list[tuple[str, int]]]:
    """Mapped instances (worst first would hide the order: by index) and their number per state."""
    mapped = TaskInstance.objects.filter(run=run, task_id=task_id, map_index__gte=0)
    rows = list(
        mapped.order_by("map_index").only("id", "map_index", "state", "rendered_map_index", "reason", "start_date", "end_date")[
            :MAPPED_SHOWN
        ]
    )
    counts = list(mapped.values_list("state").annotate(n=Count("id")).order_by("state")) if rows else []
    return rows, counts


def tries(ti: TaskInstance) -> list[Try]:
    """All tries, oldest first."""
    return list(ti.tries.select_related("worker").order_by("number"))


def choose(all_tries: list[Try], wanted: str | None) -> Try | None:
    """The try that the URL names, else the newest."""
    if wanted and wanted.isdigit():
        return next((t for t in all_tries if t.number == int(wanted)), None)
    return all_tries[-1] if all_tries else None


def xcoms(ti: TaskInstance) -> list[dict[str, Any]]:
    """Values it left, readable. One statement."""
    rows = XCom.objects.filter(run_id=ti.run_id, task_id=ti.task_id, map_index=ti.map_index).order_by("key")
    return [{"key": x.key, "value": text, "at": x.timestamp, "size": len(text)} for x in rows[:XCOMS] for text in (x.shown or x.value,)]


def draw(found: list[dict[str, Any]]) -> None:
    """Make the values readable: a tree (`tree`), or the beginning of one that is too long or no JSON (`text`)."""
    for x in found:
        if x["size"] > valuetree.PARSED:
            x["text"] = f"{mask_beginning(x['value'][:XCOM_SHOWN], x['key'])}… ({words.number(x['size'])} characters)"
            continue
        try:
            x["tree"] = valuetree.tree(unwrap(mask(json.loads(x["value"]), x["key"])))
        except (ValueError, RecursionError):  # text that is no JSON, or too deep to be read
            x["text"] = mask_beginning(x["value"][:XCOM_SHOWN], x["key"])


def unwrap(value: Any) -> Any:
    """Take the typed envelopes of `trackside.sdk.serde` off: people read the data, not its class."""
    if isinstance(value, dict):
        return unwrap(value.get("__data__")) if "__classname__" in value else {k: unwrap(v) for k, v in value.items()}
    return [unwrap(v) for v in value] if isinstance(value, list) else value


def rendered(ti: TaskInstance, chosen: Try | None) -> list[dict[str, str]]:
    """Template fields with their values, of the chosen try if it kept them."""
    fields = (chosen.snapshot.get("rendered_fields") if chosen and isinstance(chosen.snapshot, dict) else None) or ti.rendered_fields or {}
    return [
        {"name": k, "text": v if isinstance(v, str) else json.dumps(unwrap(v), indent=2, ensure_ascii=False)} for k, v in fields.items()
    ]


def usual_seconds(ti: TaskInstance) -> float | None:
    """Median of the task's last successful instances. One statement."""
    recent = TaskInstance.objects.filter(dag_id=ti.dag_id, task_id=ti.task_id, state="success").exclude(pk=ti.pk).order_by("-run_id")
    return words.usual([d for d in recent.values_list("duration", flat=True)[:15] if d is not None])
