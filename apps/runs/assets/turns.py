"""Creating runs DAG by DAG: one that fails waits and says why, the others go on. `consumers` and `partitions` have one each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from django.db import transaction

from apps.runs import claims, sql

logger = logging.getLogger(__name__)

RETRY = timedelta(minutes=1)


class Turns:
    """Which DAGs this process leaves alone for now. A hint: forgotten with the process."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._until: dict[str, datetime] = {}

    def rests(self, dag_id: str, now: datetime) -> bool:
        """Whether this DAG is left alone."""
        return self._until.get(dag_id, now) > now

    def put_off(self, dag_id: str, now: datetime) -> None:
        """Leave this DAG alone for `RETRY`."""
        self._until[dag_id] = now + RETRY

    def take(self, dag_ids: Iterable[str], create: Callable[[str, datetime], int], now: datetime) -> tuple[int, bool]:
        """`create` runs for each DAG, in a transaction that holds the DAG; how many, and whether a DAG was in other hands."""
        created, skipped = 0, False
        for dag_id in dag_ids:
            try:
                with transaction.atomic():
                    if not claims.take_dags([dag_id]):
                        skipped = True
                        continue
                    created += create(dag_id, now)
                    self._until.pop(dag_id, None)
            except Exception as e:
                # what this DAG waits with is kept
                logger.exception("creating the %s of %s failed", self.what, dag_id)
                self.put_off(dag_id, now)
                text = f"Creating its next run failed: {type(e).__name__}: {e}. Tried again in a minute."
                sql.run("UPDATE dags_dag SET blocked_reason = %s WHERE dag_id = %s", [text[:2000], dag_id])
        return created, skipped
