"""The conversation of a worker with `POST /execution/exchange`.

Two calls may be under way: one *parked* (the server answers when there is work or something to kill, or after a few
seconds) and one *reporting* (sent at once when tries have ended; its answer brings the next orders). For `agent`, which
implements `Holder`.

What is lost on the way is cleared up by the epoch (see `core.messages.ExchangeRequest`): when an answer did not arrive in
full, all connections are closed and the epoch is raised; the server then takes back the orders that cannot have arrived.
Reports are repeated until the server has settled them, and a try is named in `running` until then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from typing import Any, Protocol

from trackside.core.messages import WIRE_VERSION, ExchangeResponse
from trackside.runner.http import AnswerLost, ConnectFailed, Connection
from trackside.runner.tries import HeldTry

ANSWER_S = 10.0
"""An answer that takes this much longer than the server was asked to wait counts as lost."""
MAX_REPORTS = 200
"""Reports in one exchange."""
UPDATES_S = 0.2
"""Facts about running tries wait this long for company."""
FIRST_UPDATE_S = 0.04
"""The first facts about a try (its process) wait only this long; a try that is over sooner tells them with its report."""
KILLS_AGAIN_S = 0.1
"""Seconds before a parked call is made again after an answer that held nothing but kills."""
MAX_PAUSE_S = 5.0
REFUSED = frozenset({400, 413, 422})
"""Answers that say that this very body will never be accepted."""

log = logging.getLogger(__name__)


class Holder(Protocol):
    """What the conversation needs to know of the agent, and tells it."""

    @property
    def heartbeat_s(self) -> float:
        """At least one exchange in this time."""

    def hello(self) -> dict[str, Any]:
        """Fields of ExchangeRequest that say who we are."""

    def free(self, *, parked: bool) -> int:
        """How many orders may come."""

    def running(self) -> list[str]:
        """Tries held, up to the moment their report is settled."""

    def wanted(self) -> list[str] | None:
        """Tries that a broker's messages have named and that have not come yet; None: this worker takes what its queues hold."""

    def unwanted(self, try_id: str) -> None:
        """One of `wanted` will never come."""

    def accepted(self, sent_at: float, lease_s: float) -> None:
        """An exchange that was sent then (boot time clock) was answered."""

    def start(self, order: dict[str, Any]) -> None:
        """A StartOrder has arrived."""

    def kill(self, try_id: str, reason: str) -> None:
        """A kill order has arrived."""

    def settled(self, held: HeldTry, status: int, detail: str) -> None:
        """The report of this try needs no repeating."""


class Exchanger:
    """See the module."""

    def __init__(self, holder: Holder, connect: Callable[[], Connection], worker_id: str) -> None:
        self._holder = holder
        self._worker_id = worker_id
        self._parked = connect()
        self._reporting = connect()
        self.epoch = 0
        self._reports: dict[int, HeldTry] = {}
        """By identity: the same try may come back while its last report is still on its way."""
        self._updates: dict[str, HeldTry] = {}
        self._only_kills = False
        self._asking = False
        self._news = asyncio.Event()
        self._calls: set[asyncio.Task[Any]] = set()
        self._limit = MAX_REPORTS
        self._failures = 0
        self._updates_timer: asyncio.TimerHandle | None = None
        self._introduced: set[str] = set()
        """Tries the server knows facts of."""

    # What there is to say

    def report(self, held: HeldTry) -> None:
        """Send the report of this try now and until it is settled."""
        self._updates.pop(held.id, None)
        self._introduced.discard(held.id)
        self._reports[id(held)] = held
        self._news.set()

    def update(self, held: HeldTry) -> None:
        """Send facts about this try soon."""
        if held.is_over:
            return
        self._updates[held.id] = held
        loop, delay = asyncio.get_running_loop(), UPDATES_S if held.id in self._introduced else FIRST_UPDATE_S
        self._introduced.add(held.id)
        if self._updates_timer is not None and self._updates_timer.when() > loop.time() + delay:
            self._updates_timer.cancel()
            self._updates_timer = None
        if self._updates_timer is None:
            self._updates_timer = loop.call_later(delay, self._updates_due)

    def ask(self) -> None:
        """There is a new one among `wanted`: ask for it now."""
        self._asking = True
        self._news.set()

    def forget(self, held: HeldTry) -> None:
        """Its report has become pointless."""
        self._reports.pop(id(held), None)

    @property
    def unsettled(self) -> int:
        """Reports the server has not settled."""
        return len(self._reports)

    def _updates_due(self) -> None:
        self._updates_timer = None
        if self._updates:
            self._news.set()

    # The two conversations

    async def run(self) -> None:
        """Both, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._park_for_ever())
                group.create_task(self._report_for_ever())
        finally:
            self._parked.close()
            self._reporting.close()

    def unpark(self) -> None:
        """Take back the offer of the parked call: what it might bring is refused by a new epoch."""
        self._new_epoch()

    async def _park_for_ever(self) -> None:
        while True:
            self._only_kills = False
            if not await self._call(self._parked, self._holder.heartbeat_s, [], {}):
                await self._pause()
            elif self._only_kills:
                # the server repeats a kill until it is confirmed, and does not park while it has something to say
                await asyncio.sleep(KILLS_AGAIN_S)

    async def _report_for_ever(self) -> None:
        while True:
            await self._news.wait()
            await asyncio.sleep(0)  # what else ended in this turn of the loop goes along
            reports = list(self._reports.values())[: self._limit]
            updates, self._updates = self._updates, {}
            asking, self._asking = self._asking, False
            if not reports and not updates and not asking:
                self._news.clear()
                continue
            if await self._call(self._reporting, 0.0, reports, updates):
                if not self._reports and not self._updates and not self._asking:
                    self._news.clear()
            else:
                self._asking = asking or self._asking
                for try_id, held in updates.items():
                    self._updates.setdefault(try_id, held)
                await self._pause()

    async def _call(
        self, connection: Connection, wait_s: float, reports: list[HeldTry], updates: dict[str, HeldTry]
    ) -> bool:
        """One exchange. False if it failed (then everything will be said again)."""
        exchange = asyncio.ensure_future(self._exchange(connection, wait_s, reports, updates))
        self._calls.add(exchange)
        try:
            return await exchange
        except asyncio.CancelledError:
            if asyncio.current_task() is not None and asyncio.current_task().cancelling():  # type: ignore[union-attr]
                exchange.cancel()
                raise
            return True  # cut short by a new epoch, which is not a failure of this one
        finally:
            self._calls.discard(exchange)

    async def _exchange(
        self, connection: Connection, wait_s: float, reports: list[HeldTry], updates: dict[str, HeldTry]
    ) -> bool:
        # The fields of ExchangeRequest; not the dataclass, whose to_dict copies everything deeply.
        request = {
            "worker_id": self._worker_id,
            "epoch": self.epoch,
            **self._holder.hello(),
            "free": self._holder.free(parked=wait_s > 0),
            "running": self._holder.running(),
            "finished": [held.report for held in reports if held.report is not None],
            "updates": [
                {"try_id": h.id, "token": h.order.token, **h.update} for h in updates.values() if not h.is_over
            ],
            "wait_s": wait_s,
            "wire_version": WIRE_VERSION,
            "wanted": self._holder.wanted(),
        }
        sent_at = boottime()
        try:
            status, answer = await connection.post("/exchange", request, wait_s + ANSWER_S)
        except ConnectFailed as error:
            self._failed(f"the server cannot be reached: {error}")
            return False
        except AnswerLost as error:
            self._new_epoch()
            self._failed(f"an answer was lost: {error}")
            return False
        if status != 200 or not isinstance(answer, dict):
            self._refused(status, answer, reports)
            return False
        if self._failures:
            log.info("the server answers again")
            self._failures = 0
        self._limit = min(self._limit * 2, MAX_REPORTS)
        self._take(ExchangeResponse.from_dict(answer), sent_at, reports)
        return True

    def _take(self, answer: ExchangeResponse, sent_at: float, reports: list[HeldTry]) -> None:
        """Act on an answer; no await in here: what arrived in full is taken in full."""
        self._holder.accepted(sent_at, answer.lease_s)
        reported = {held.id: held for held in reports}
        for item in answer.settled:
            held = reported.get(str(item.get("try_id")))
            if held is not None:
                self._reports.pop(id(held), None)
                self._holder.settled(held, int(item.get("status", 200)), str(item.get("detail") or ""))
        self._only_kills = bool(answer.kill) and not answer.start
        for kill in answer.kill:
            self._holder.kill(str(kill.get("try_id")), str(kill.get("reason") or "the server said so"))
        for order in answer.start:
            self._holder.start(order)
        for try_id in answer.unwanted:
            self._holder.unwanted(str(try_id))

    # Trouble

    def _new_epoch(self) -> None:
        self.epoch += 1
        self._parked.close()
        self._reporting.close()
        me = asyncio.current_task()
        for call in self._calls:
            if call is not me:
                call.cancel()

    def _failed(self, what: str) -> None:
        self._failures += 1
        if self._failures in (1, 5) or self._failures % 50 == 0:
            log.warning("%s (attempt %d)", what, self._failures)

    def _refused(self, status: int, answer: Any, reports: list[HeldTry]) -> None:
        """The server answered, but not with 200: nothing was done. Find out whether one report is to blame."""
        detail = answer.get("detail", answer) if isinstance(answer, dict) else answer
        self._failed(f"the server answered {status}: {detail}")
        if len(reports) > 1:
            self._limit = 1
        elif len(reports) == 1:
            held = reports[0]
            if status in REFUSED and held.report is not None and not held.report.get("refused"):
                held.report = _poorer(held.report, status, str(detail))
            self._reports[id(held)] = self._reports.pop(id(held), held)  # the others first

    async def _pause(self) -> None:
        seconds = min(0.05 * 2 ** min(self._failures, 10), MAX_PAUSE_S)
        await asyncio.sleep(seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter


def _poorer(report: dict[str, Any], status: int, detail: str) -> dict[str, Any]:
    """The report that is left when the server will not have the full one."""
    keep = ("try_id", "token", "exit_code", "signal", "duration_s", "pid", "log_size")
    error = f"The server refused the result of this task ({status}): {detail[:500]}"
    return {**{k: report.get(k) for k in keep}, "outcome": "failed", "error": error, "refused": True}


def boottime() -> float:
    """Seconds on a clock that also counts while the machine sleeps."""
    with contextlib.suppress(AttributeError, OSError):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
