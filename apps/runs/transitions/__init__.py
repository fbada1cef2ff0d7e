"""The only package that writes `state`: one verb, one conditional UPDATE, one event row per run, in one statement.

Every verb takes many ids, moves those that are in one of its source states (`trackside.core.states`) and returns what
really changed; a lost race is simply not in the answer. Callers hold a transaction; those that end tries or change a
run's tasks hold the run's lock (`claims.lock_runs`). Wake-ups are sent by the caller after commit.

* `planned` – what the planner decides · `handing` – admission and claim · `ends` – how tries end
* `people` – mark, clear, undo · `runs` – whole runs, and sentences · `statements` – what all verbs are made of
"""

from __future__ import annotations

from apps.runs.transitions.ends import (
    End,
    await_input,
    begin_deferred,
    defer,
    end_deferred,
    fail,
    reschedule,
    resume,
    retry,
    skip_self,
    succeed,
)
from apps.runs.transitions.handing import admit, requeue, start, start_one, unqueue
from apps.runs.transitions.people import clear, mark, put_back, restart
from apps.runs.transitions.planned import complete, remove, restore, schedule, skip, upstream_fail
from apps.runs.transitions.runs import explain, keep_mark, move_run, planned_run
from apps.runs.transitions.statements import Changed

__all__ = [
    "Changed",
    "End",
    "admit",
    "await_input",
    "begin_deferred",
    "clear",
    "complete",
    "defer",
    "end_deferred",
    "explain",
    "fail",
    "keep_mark",
    "mark",
    "move_run",
    "planned_run",
    "put_back",
    "remove",
    "requeue",
    "reschedule",
    "restart",
    "restore",
    "resume",
    "retry",
    "schedule",
    "skip",
    "skip_self",
    "start",
    "start_one",
    "succeed",
    "unqueue",
    "upstream_fail",
]
