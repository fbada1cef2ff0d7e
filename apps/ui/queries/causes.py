"""What needs somebody, by cause: tasks of all DAGs that failed with the same error or wait for the same thing, as one entry.

For home (`queries.home`). One statement for any number of DAGs; what it reads is bounded (`READ`), what it gives is, too.
Numbers within an error (rows, ids, addresses of memory) do not make it another cause; ports, statuses and exit codes do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from apps.ui import words
from apps.ui.queries.newest import Newest

SHOWN = 12
EXAMPLES = 3
CLEARED = 20
"""Up to so many DAGs of a cause are cleared together from home."""
READ = 10_000
"""Failed and waiting instances that are looked at, the newest; with more of them, numbers are least numbers."""
PATIENCE = timedelta(minutes=5)
STUCK = ("pool_missing", "pool_of_team", "pool_too_small", "no_worker", "no_executor", "no_executor_process", "no_triggerer", "input")
"""Codes of waits that end by nothing but a person."""
SLOW = ("pool_full", "run_limit", "task_limit", "task_run_limit", "executor_full", "triggerer_full", "worker")
"""Codes of waits for room: worth a look after PATIENCE."""
RUN_STUCK = ("trouble",)
RUN_SLOW = ("past_run", "max_active_runs")
"""The same of whole runs."""
_PER_POOL = ("pool_full", "pool_missing", "pool_of_team", "pool_too_small")
_PER_DAG = ("run_limit", "task_limit", "task_run_limit", "max_active_runs", "past_run")
_PER_CODE = ("input", "no_triggerer", "triggerer_full", "executor_full", "worker")
_IDS = r"(0x)?[0-9a-f]{8}(-?[0-9a-f]{4,}){0,4}"
_NUMBERS = r"(?<![\w.:])(?<!port )(?<!code )(?<!status )(?<!HTTP )\d+(?![\w.])"
# two questions about what waits, each worded like the partial index that answers it
_SQL = r"""
WITH awake AS MATERIALIZED (SELECT unnest(%(dags)s::text[]) AS dag_id), bad AS MATERIALIZED (
  (SELECT t.id, t.run_id, t.dag_id, t.task_id, t.map_index, r.run_id AS run_name, r.run_after, r.state AS run_state,
          'failed' AS kind, '' AS code, t.pool, coalesce(t.reason, '') AS reason, coalesce(t.end_date, t.reason_since, t.updated_at) AS at
   FROM runs_taskinstance t JOIN runs_run r ON r.id = t.run_id WHERE t.state = 'failed' AND t.run_id IN (
     SELECT unnest(%(failed)s::bigint[]) UNION ALL SELECT id FROM runs_run WHERE state = 'running' AND dag_id IN (SELECT dag_id FROM awake))
   ORDER BY t.run_id DESC LIMIT %(read)s)
  UNION ALL
  (SELECT t.id, t.run_id, t.dag_id, t.task_id, t.map_index, r.run_id, r.run_after, r.state, t.state, t.reason_code,
          t.pool, t.reason, t.reason_since
   FROM (SELECT * FROM runs_taskinstance WHERE state = 'scheduled' UNION ALL
         SELECT * FROM runs_taskinstance WHERE state IN ('queued', 'deferred', 'awaiting_input')) t JOIN runs_run r ON r.id = t.run_id
   WHERE r.dag_id IN (SELECT dag_id FROM awake)
     AND (t.reason_code = ANY(%(stuck)s) OR t.reason_code = ANY(%(slow)s) AND t.reason_since < %(since)s) LIMIT %(read)s)
  UNION ALL
  (SELECT NULL, r.id, r.dag_id, '', -1, r.run_id, r.run_after, r.state, r.state, r.reason_code, '', r.reason, r.reason_since
   FROM runs_run r WHERE r.state IN ('queued', 'running') AND r.backfill_id IS NULL AND r.dag_id IN (SELECT dag_id FROM awake)
     AND (r.reason_code = ANY(%(run_stuck)s) OR r.reason_code = ANY(%(run_slow)s) AND r.reason_since < %(since)s) LIMIT %(read)s)
  UNION ALL
  (SELECT NULL, r.id, r.dag_id, '', -1, r.run_id, r.run_after, r.state, 'failed', '', '', coalesce(r.reason, ''),
          coalesce(r.end_date, r.run_after)
   FROM runs_run r WHERE r.id = ANY(%(failed)s)
     AND NOT EXISTS (SELECT FROM runs_taskinstance t WHERE t.run_id = r.id AND t.state = 'failed') LIMIT %(read)s)
), named AS MATERIALIZED (
  SELECT *, CASE WHEN code = ANY(%(per_pool)s) THEN code || ' ' || pool WHEN code = ANY(%(per_dag)s) THEN code || ' ' || dag_id
    WHEN code = ANY(%(per_code)s) THEN code
    ELSE regexp_replace(regexp_replace(left(split_part(reason, E'\n', 1), 300), %(ids)s, '#', 'g'), %(numbers)s, '#', 'g') END AS cause
  FROM bad
), counted AS (
  SELECT kind, cause, count(id) AS tasks, count(DISTINCT run_id) AS runs, count(DISTINCT dag_id) AS dags,
    min(at) AS oldest, max(at) AS newest, (array_agg(DISTINCT dag_id) FILTER (WHERE run_state = 'failed'))[:%(cleared)s] AS ended
  FROM named GROUP BY kind, cause
), totals AS (
  SELECT (SELECT count(*) FROM counted) AS causes,
    (SELECT count(DISTINCT dag_id) FROM named WHERE kind = 'failed') AS failing,
    (SELECT count(*) FROM named WHERE kind NOT IN ('failed', 'awaiting_input')) AS stuck,
    (SELECT count(*) FROM named WHERE kind = 'awaiting_input') AS asking
)
SELECT t.*, c.*, e.* FROM totals t
LEFT JOIN (SELECT * FROM counted ORDER BY dags DESC, tasks DESC, newest DESC, cause LIMIT %(shown)s) c ON true
LEFT JOIN LATERAL (SELECT * FROM (
  SELECT DISTINCT ON (dag_id, task_id) dag_id, task_id, map_index, run_name, run_after, reason, pool, at FROM named
  WHERE kind = c.kind AND cause = c.cause ORDER BY dag_id, task_id, at DESC) o
  ORDER BY at DESC, dag_id, task_id LIMIT %(examples)s) e ON true
ORDER BY c.dags DESC, c.tasks DESC, c.newest DESC, c.cause, e.at DESC, e.dag_id, e.task_id
"""


@dataclass(slots=True)
class Example:
    """One of the tasks (or runs, then `task_id` is empty) of a cause."""

    dag_id: str
    task_id: str
    map_index: int
    run_id: str
    run_after: datetime

    @property
    def href(self) -> str:
        """Its page."""
        if not self.task_id:
            return reverse("run", args=[self.dag_id, self.run_id])
        query = f"?map_index={self.map_index}" if self.map_index >= 0 else ""
        return reverse("task", args=[self.dag_id, self.run_id, self.task_id]) + query


@dataclass(slots=True)
class Cause:
    """One thing that fails or holds up tasks."""

    state: str
    """Of its tasks (or of its runs, where it is about those)."""
    sentence: str
    """The newest task's, as it is kept."""
    tasks: int
    runs: int
    dags: int
    oldest: datetime
    newest: datetime
    pool: str
    ended: list[str]
    """DAGs of those runs that have ended."""
    examples: list[Example] = field(default_factory=list)

    @property
    def single(self) -> bool:
        """It is about one task (or run) only."""
        return self.dags == 1 and self.runs == 1 and len(self.examples) == 1

    @property
    def count(self) -> str:
        """`12 tasks of 5 DAGs`."""
        things = words.plural(self.tasks, "task") if self.tasks else words.plural(self.runs, "run")
        return _("%(things)s of %(dags)s") % {"things": things, "dags": words.plural(self.dags, "DAG")}

    @property
    def more(self) -> int:
        """DAGs without an example."""
        return max(0, self.dags - len({e.dag_id for e in self.examples}))

    @property
    def everything(self) -> str:
        """Where all of them are listed."""
        if self.state == "awaiting_input":
            return reverse("required_actions")
        if not self.tasks:
            return reverse("runs") + "?" + urlencode({"state": self.state})
        if self.dags == 1:
            return reverse("tasks") + "?" + urlencode({"state": self.state, "dag": self.examples[0].dag_id})
        return reverse("tasks") + "?" + urlencode({"state": self.state, **({"pool": self.pool} if self.state == "scheduled" else {})})

    @property
    def clearable(self) -> bool:
        """All of it may be cleared by the list's action on many DAGs: their newest runs have failed and are no more than it takes."""
        return self.state == "failed" and 1 < self.dags == len(self.ended) <= CLEARED


@dataclass(slots=True)
class Causes:
    """What is shown, and how much there is."""

    shown: list[Cause]
    more: int
    """Causes that are not shown."""
    failing: int
    """DAGs with a failed task or run."""
    stuck: int
    """Tasks and runs that wait for what nobody brings, or for long."""
    asking: int
    """Tasks that wait for a person's answer."""


def causes(dags: Iterable[Newest], now: datetime) -> Causes:
    """Of DAGs that are not paused: what failed in their newest run or in one that goes on, what is stuck. One statement."""
    awake = [d for d in dags if not d.paused]
    params: dict[str, Any] = {
        "dags": [d.dag_id for d in awake], "failed": [d.run_pk for d in awake if d.state == "failed"], "read": READ,
        "stuck": list(STUCK), "slow": list(SLOW), "run_stuck": list(RUN_STUCK), "run_slow": list(RUN_SLOW), "since": now - PATIENCE,
        "per_pool": list(_PER_POOL), "per_dag": list(_PER_DAG), "per_code": list(_PER_CODE), "ids": _IDS, "numbers": _NUMBERS,
        "shown": SHOWN, "examples": EXAMPLES, "cleared": CLEARED + 1,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_SQL, params)
        rows = cursor.fetchall()
    shown: dict[tuple[str, str], Cause] = {}
    for _n, _failing, _stuck, _asking, kind, cause, tasks, runs, of, oldest, newest, ended, *example in rows:
        if kind is None:
            continue
        dag_id, task_id, map_index, run_id, run_after, reason, pool, _at = example
        one = shown.setdefault((kind, cause), Cause(kind, reason, tasks, runs, of, oldest, newest, pool, ended or []))
        one.examples.append(Example(dag_id, task_id, map_index, run_id, run_after))
    total, failing, stuck, asking = rows[0][:4]
    return Causes(list(shown.values()), total - len(shown), failing, stuck, asking)
