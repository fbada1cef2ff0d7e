"""Names, labels and annotations of a try's pod. The labels are Airflow's, so that dashboards and cost tools go on working.

Values of labels allow few characters and 63 of them; what does not fit is cut and gets a hash of the whole, so that two
values never become one. Annotations hold the same in full.
"""

from __future__ import annotations

import hashlib
import re

from trackside.executors.base import TryRef

LONGEST = 63
SITE = "trackside-site"
EXECUTOR = "trackside-executor"
TRY = "trackside-try"
ROUND = "trackside-round"
_ENDS = re.compile(r"^[^a-z0-9A-Z]+|[^a-z0-9A-Z]+$")
_INSIDE = re.compile(r"[^a-zA-Z0-9_.-]")


def pod_name(ref: TryRef) -> str:
    """A function of the try (and of the round, if it goes on): creating it again is refused by the API server."""
    tail = ref.id.hex + (f"-{ref.round}" if ref.round > 1 else "")
    words = re.sub(r"[^a-z0-9]+", "-", f"{ref.dag_id}-{ref.task_id}".lower()).strip("-")
    head = words[: LONGEST - len(tail) - 1].rstrip("-")
    return f"{head}-{tail}" if head else f"try-{tail}"


def label(value: str) -> str:
    """A label value as Airflow makes it: unchanged if it is one already, else cut and with the hash of what it was."""
    safe = _ENDS.sub("", _INSIDE.sub("", _ENDS.sub("", value)))
    if len(safe) <= LONGEST and safe == value:
        return safe
    digest = hashlib.md5(value.encode(), usedforsecurity=False).hexdigest()[:9]
    return safe[: LONGEST - len(digest) - 1] + "-" + digest


def moment(iso: str) -> str:
    """A moment in a label: `:` and `+` are not allowed there."""
    return iso.replace(":", "_").replace("+", "_plus_")


def labels(ref: TryRef, *, site: str, alias: str, version: str) -> dict[str, str]:
    """Labels of a try's pod and secret."""
    found = {
        "dag_id": label(ref.dag_id), "task_id": label(ref.task_id), "run_id": label(ref.run_id), "try_number": str(ref.number),
        "airflow_version": label(version), "kubernetes_executor": "True", "ti_id": str(ref.id),
        SITE: site, EXECUTOR: label(alias), TRY: str(ref.id), ROUND: str(ref.round),
    }  # fmt: skip
    if ref.map_index >= 0:
        found["map_index"] = str(ref.map_index)
    if ref.logical_date:
        found["logical_date"] = label(moment(ref.logical_date))
    return found


def notes(ref: TryRef) -> dict[str, str]:
    """The same in full."""
    found = {
        "dag_id": ref.dag_id, "task_id": ref.task_id, "run_id": ref.run_id, "try_number": str(ref.number), "task_instance_id": str(ref.id),
    }  # fmt: skip
    if ref.map_index >= 0:
        found["map_index"] = str(ref.map_index)
    if ref.logical_date:
        found["logical_date"] = ref.logical_date
    return found
