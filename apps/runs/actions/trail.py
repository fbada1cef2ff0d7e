"""What the audit trail says of task instances and runs before they were changed: enough to prove later what was there.

For the domain calls of this package, which hand it to `apps.access.audit.record`. Next door: `undo` keeps whole states, for ten minutes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db.models import Count

from apps.access.masking import mask
from apps.runs.models import Run, TaskInstance

NAMED = 200
"""Task instances an event names; all are counted."""
CONF = 4000
"""Characters of a conf, as JSON, that are kept whole."""
NONE = "no state"


def name_of(ti: TaskInstance) -> str:
    """`task`, or `task [3]` for an index."""
    return ti.task_id if ti.map_index < 0 else f"{ti.task_id} [{ti.map_index}]"


def states_of(chosen: Sequence[TaskInstance]) -> dict[str, Any]:
    """State → the instances that were in it, the first ones by name, and `and more`, how many are not named."""
    told: dict[str, Any] = {}
    for ti in chosen[:NAMED]:
        told.setdefault(ti.state or NONE, []).append(name_of(ti))
    return told | ({"and more": dict(Counter(ti.state or NONE for ti in chosen[NAMED:]))} if len(chosen) > NAMED else {})


def counts_of(pks: Iterable[int]) -> dict[str, int]:
    """How many instances of these runs are in each state: one statement."""
    found = TaskInstance.objects.filter(run__in=list(pks)).values_list("state").annotate(n=Count("pk")).order_by()
    return {state or NONE: n for state, n in found}


def conf_of(conf: Mapping[str, Any] | None) -> Any:
    """The conf of a run, secrets masked; of one that is longer than `CONF` only the keys."""
    masked = mask(dict(conf or {}))
    return masked if len(json.dumps(masked, default=str)) <= CONF else {"keys": sorted(masked)[:NAMED]}


def run_of(run: Run) -> dict[str, Any]:
    """A run that is about to go: what it was, without its secrets."""
    return {
        "state": run.state, "run_type": run.run_type, "conf": conf_of(run.conf), "note": run.note,
        "started": run.start_date.isoformat() if run.start_date else None, "ended": run.end_date.isoformat() if run.end_date else None,
        "tasks": counts_of([run.pk]),
    }  # fmt: skip
