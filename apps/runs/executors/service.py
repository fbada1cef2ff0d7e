"""`Service.step()`: 1 ask the executor what it sees, 2 end what can say nothing itself, 3 say why others wait, 4 have the
killed ended, 5 forget what is over, 6 submit what is queued, 7 say when to look again.

One service per alias; `manage.py executor` runs all of a site's, any number side by side: what must happen once is taken
from the database (`rows.take`, transitions), everything else may happen twice.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings

from apps.runs import sql, wake
from apps.runs.executors import outcomes, rows
from trackside.core import logline
from trackside.core.reasons import Reason
from trackside.executors.base import Executor, Leases, Phase, Seen, Submission, Verdict

logger = logging.getLogger(__name__)

BATCH = 64
"""Submissions between two looks."""
BUSY_EVERY = timedelta(seconds=1)
"""While something is being ended or refused."""


class Service:
    """Drives one executor."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.alias = executor.alias
        executor.ledger = lambda: {i: row.known for i, row in rows.live(self.alias).items()}

    def step(self) -> datetime:
        """One pass; when the next is due at the latest."""
        now = sql.now()
        live = rows.live(self.alias)
        seen = self.executor.look({i: row.known for i, row in live.items()})
        rows.note({one.try_id: one.facts for one in seen})
        self._end(seen, live, now)
        outcomes.explain(outcomes.reasons(seen, live), now)
        self._cancel(live)
        self._forget(seen)
        more = self._submit(live, now)
        rest = timedelta(seconds=self.executor.rest())
        return now if more else now + (min(BUSY_EVERY, rest) if any(not row.kill_confirmed for row in live.values()) else rest)

    def _end(self, seen: list[Seen], live: dict[UUID, rows.Live], now: datetime) -> None:
        over = [one for one in seen if outcomes.is_over(one) and _is_certain(one, live.get(one.try_id), now)]
        # what has no fault ended as it should, by its own report
        outcomes.end([one for one in over if one.fault is not None], live, now)
        outcomes.confirm([one.try_id for one in over if one.phase in (Phase.ENDED, Phase.GONE)], live, now)

    def _cancel(self, live: dict[UUID, rows.Live]) -> None:
        if self.executor.leases is Leases.TRY and (killed := [row.id for row in live.values() if not row.kill_confirmed]):
            self.executor.cancel(killed)

    def _forget(self, seen: list[Seen]) -> None:
        """What is over for the ledger need not be kept by the executor; the ledger is asked again, because it has moved on."""
        there = {(one.try_id, one.round) for one in seen if one.phase is not Phase.GONE}
        states = rows.states({try_id for try_id, _ in there})
        over, failed = [], []
        for try_id, number in there:
            state, current = states.get(try_id, ("gone", 0))
            if state not in ("queued", "running") or number != current:
                over.append((try_id, number))
                if state in ("failed", "lost"):
                    failed.append(try_id)
        if over:
            self.executor.forget(over, failed)

    def _submit(self, live: dict[UUID, rows.Live], now: datetime) -> bool:
        """True: there is more to submit at once."""
        again = self._lost(live, now)
        if not again and not rows.anything_unsubmitted(self.alias):
            return False
        under_way = sum(row.state in ("queued", "running") or not row.kill_confirmed for row in live.values())
        limit = min(self.executor.capacity(under_way), BATCH)
        refs = rows.take(self.alias, limit, again) if limit > 0 else []
        for ref in refs:
            ids = {"try_id": ref.id, "dag_id": ref.dag_id, "task_id": ref.task_id, "run_id": ref.run_id}
            logline.step(logger, f"The try goes to executor {self.alias}.", **ids)
        if refs:
            self._answers(self.executor.submit(refs), live, now)
        self._explain_rest(now, under_way)
        return limit > 0 and len(refs) == limit

    def _lost(self, live: dict[UUID, rows.Live], now: datetime) -> list[UUID]:
        waiting = {
            row.id: row.submitted_at for row in live.values() if row.state == "queued" and row.current and row.submitted_at is not None
        }
        if not waiting or not any(now - at > timedelta(seconds=2) for at in waiting.values()):
            return []
        refs = rows.references(waiting)
        return list(self.executor.lost([(ref, waiting[ref.id]) for ref in refs], now))

    def _answers(self, answers: list[Submission], live: dict[UUID, rows.Live], now: datetime) -> None:
        rows.note({a.try_id: a.facts for a in answers})
        rows.give_back([a.try_id for a in answers if a.verdict is Verdict.LATER])
        if rows.share({a.try_id: a.reuse_key for a in answers if a.verdict is Verdict.TAKEN and a.reuse_key}):
            wake.send(wake.WORK)  # pods that wait for one
        if all(a.verdict is Verdict.TAKEN and a.reason is None for a in answers):
            return
        fresh = live | rows.live(self.alias)
        refused = [Seen(a.try_id, fresh[a.try_id].round, Phase.WAITING, a.reason, a.fault) for a in answers
                   if a.verdict is Verdict.REFUSED and a.try_id in fresh]  # fmt: skip
        outcomes.end(refused, fresh, now)
        why = {fresh[a.try_id].pk: a.reason for a in answers if a.verdict is Verdict.TAKEN and a.reason and a.try_id in fresh}
        outcomes.explain(why, now)

    def _explain_rest(self, now: datetime, under_way: int) -> None:
        """Why what was not submitted waits."""
        why = self.executor.waits_for()
        if why is None and self.executor.capacity(under_way) <= 0:
            text = f"Executor {self.alias} has {under_way} tries under way, its limit. It goes on when one of them ends."
            why = Reason("executor_full", text)
        if why is not None:
            outcomes.explain(dict.fromkeys(rows.unsubmitted(self.alias), why), now)


def _is_certain(one: Seen, row: rows.Live | None, now: datetime) -> bool:
    """Whether nothing of it can be running. What merely cannot be found may run where nobody reaches it, until it has fenced
    itself; what is queued and cannot be found is submitted again."""
    if one.phase is not Phase.GONE or row is None:
        return True
    signs = row.heartbeat_at or row.submitted_at
    return row.state != "queued" and (signs is None or now - signs > timedelta(seconds=settings.LEASE))
