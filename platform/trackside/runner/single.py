"""One single try from its claim to its report: what `python -m trackside.runner` runs in a pod or for a Celery message.

Made by `__main__` (one try, then leave) and by `warm` (one after the other). It is `agent` for one try: the same fork server, process,
log and kill, with the try's own doors (`/tries/{id}/heartbeat`, `/update`, `/logs`, `/finish`) instead of the exchange.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackside.core.messages import NOT_STARTED
from trackside.runner import shipped, used
from trackside.runner.bundles.base import BundleError
from trackside.runner.exchange import boottime
from trackside.runner.http import AnswerLost, ConnectFailed, Connection
from trackside.runner.local_files import LocalFiles
from trackside.runner.logs import TIMEOUT_S, LogShipper, TryLog
from trackside.runner.tries import HeldTry
from trackside.runner.zygotes import ForkServer

if TYPE_CHECKING:
    from trackside.runner.ahead import Ahead

Finish = Callable[[dict[str, Any] | None], Awaitable[tuple[int, Any]]]
GONE = frozenset({401, 404, 409, 410})
FINISH_FOR_S = 300.0
"""The report is repeated this long before the runner gives up (the server then finds the try lost)."""

TERMINATION_LOG = Path("/dev/termination-log")
"""In a pod: the file whose content becomes the message of the ended container."""

log = logging.getLogger("trackside.runner")


class SingleTry:
    """One try from start to finish. Implements `tries.Host`."""

    def __init__(
        self, api_url: str, try_id: str, start_token: str, settings: dict[str, Any],
        forks: ForkServer | None = None, ahead: Ahead | None = None, order: dict[str, Any] | None = None, finish: Finish | None = None,
    ) -> None:  # fmt: skip
        """`forks`: a fork server that outlives the try (`warm`); without it the try has one of its own, which serves it alone:
        `ahead`, if that was forked already, or a new process. `order`: the try was claimed already, this is it. `finish`: brings
        the report to the server (status, answer), instead of the try's own door.
        """
        self._api_url = api_url
        self._try_id = try_id
        self._start_token = start_token
        self._settings = {"api_url": api_url, "cwd": str(Path.cwd()), **settings}
        self._given_forks = forks
        self._ahead = ahead
        self._order = order
        self._finish = finish
        self._over = asyncio.Event()
        self.reported = asyncio.Event()
        """Its process has ended and the server has its report; the last lines of its log may still be on their way."""
        self._stopped = False
        self._accepted_at = boottime()
        self.held: HeldTry | None = None

    async def run(self) -> int:
        """See the exit code in the module's docstring."""
        asked_at = boottime()
        used_before = used.measure() if self._given_forks is not None else {}
        forks = self.forks = self._given_forks or ForkServer({**self._settings, "single": True}, sweep=True)
        if self._given_forks is None:
            forks.start_server(self._ahead)  # it imports what tasks need while the try is claimed
        status, order = (200, self._order) if self._order is not None else await self._claim()
        if status != 200:
            log.error("the try %s was not started (%s): %s", self._try_id, status, order)
            _say_to_the_kubelet(f"{NOT_STARTED}{status} {order.get('detail') if isinstance(order, dict) else order}")
            if self._given_forks is None:
                await forks.abandon()
            return 2
        self._accepted_at = asked_at
        self._talk = Connection(self._api_url, order["token"])
        self._log_talk = Connection(self._api_url, order["token"])
        self.shipper = LogShipper(self._post_logs)
        resumed = bool(order.get("reschedule_count") or order.get("next_method"))
        held = self.held = HeldTry(order, self, self.shipper.open(self._try_id, order["token"], resumed))
        held.log.system(f"Try {held.order.try_number} of {held.order.dag_id}.{held.order.task_id} on {socket.gethostname()}")
        launching = asyncio.ensure_future(self._launch(held, order))
        if self._stopped:
            self.stop()
        duties = [asyncio.ensure_future(duty) for duty in (self.shipper.run(), self._heartbeats(held))]
        duties.append(launching)
        try:
            await self._over.wait()
            duties[1].cancel()
            await asyncio.gather(duties[1], return_exceptions=True)
            report = held.report if held.report is None else {**held.report, "used": used.since(used_before, used.measure())}
            finish = self._finish or (lambda report: self._insist(self._talk, "/finish", report))
            status, answer = await finish(report)
            self.reported.set()
            await self.shipper.drained(10.0)
        finally:
            for duty in duties:
                duty.cancel()
            await asyncio.gather(*duties, return_exceptions=True)
            if self._given_forks is None:
                await forks.stop()
            self._talk.close()
            self._log_talk.close()
        if status not in (200, 201, 202, 204):
            log.error("the report of try %s was not accepted (%s): %s", self._try_id, status, answer)
        # a stopped task is no success of the pod: who looks at the pod's end must not take it for one
        return 0 if status < 300 and held.report is not None and held.report.get("outcome") != "lost" else 1

    async def _claim(self) -> tuple[int, Any]:
        starting = Connection(self._api_url, self._start_token)
        # the secret of its token is its own: a claim whose answer gets lost is repeated, and known as the same one
        said = {"hostname": socket.gethostname(), "pid": os.getpid(), "secret": os.urandom(32).hex()}
        status, order = await self._insist(starting, "/start", said)
        starting.close()
        return status, order

    async def _launch(self, held: HeldTry, order: dict[str, Any]) -> None:
        """Have the DAG's files here, then start the process."""
        files = LocalFiles(self._api_url, os.environ.get("TRACKSIDE_DAGS_FOLDER"))
        try:
            if held.order.bundle is None and shipped.is_wanted():
                path = await shipped.fetch(held.order, self._ask_files, shipped.cache_folder())
            else:
                path = files.find(held.order) or await files.fetch(held.order)
        except Exception as error:  # whatever it is: somebody must hear of it
            if not isinstance(error, (BundleError, shipped.NotShipped, OSError)):
                log.exception("fetching the files of try %s failed", self._try_id)
            if not held.is_over:
                held.lost(f"The DAG's files could not be fetched: {error}")
            return
        if path != order.get("dag_file"):
            files.note(order, held.order, path)
        if not held.is_over:
            self.forks.start(held)

    def stop(self) -> None:
        """SIGTERM (the pod is being deleted): end the task; no fault of its own."""
        self._stopped = True
        if self.held is not None:
            self.held.kill("the runner was told to stop", self.held.order.kill_grace_s, "lost")

    # tries.Host

    def log_is_full(self, one: TryLog) -> bool:
        """See `Host`."""
        return self.shipper.is_full(one)

    def kill_process(self, held: HeldTry, grace_s: float) -> bool:
        """See `Host`."""
        return self.forks.kill(held, grace_s)

    def updated(self, held: HeldTry) -> None:
        """See `Host`; sent with the next heartbeat."""

    def finished(self, held: HeldTry) -> None:
        """See `Host`."""
        self._over.set()

    # Conversation

    async def _heartbeats(self, held: HeldTry) -> None:
        """Signs of life until cancelled; kills the task when it is superseded or when nobody has answered for too long."""
        told: dict[str, Any] = {}
        problem = ""
        while True:
            await asyncio.sleep(min(held.order.heartbeat_s, 0.5) if held.update != told else held.order.heartbeat_s)
            sent_at = boottime()
            try:
                if held.update != told:
                    news = dict(held.update)
                    status, answer = await self._post("/update", {"try_id": held.id, **news})
                    told = news if status < 500 else told
                else:
                    status, answer = await self._post("/heartbeat", {"pid": held.pid})
            except (ConnectFailed, AnswerLost) as error:
                status, answer = 503, {"detail": str(error)}
            if status < 300:
                self._accepted_at, problem = sent_at, ""
            elif status in GONE:
                held.kill(str(answer.get("detail") or "the try was superseded"), held.order.kill_grace_s)
            else:
                problem = f": {answer.get('detail') if isinstance(answer, dict) else answer}"
                log.warning("a heartbeat was not accepted (%s)%s", status, problem)
            if boottime() - self._accepted_at > held.order.self_fence_s:
                held.kill(f"the runner lost contact with the server for too long{problem}", 0.0, "lost")

    async def _post(self, verb: str, body: Any) -> tuple[int, Any]:
        return await self._talk.post(f"/tries/{self._try_id}{verb}", body, 5.0)

    async def _ask_files(self, verb: str, body: Any) -> tuple[int, Any]:
        asking = Connection(self._api_url, self.held.order.token) if self.held else self._talk
        try:
            return await asking.post(f"/tries/{self._try_id}{verb}", body, 60.0)
        except (ConnectFailed, AnswerLost) as error:
            return 404, {"detail": str(error)}
        finally:
            asking.close()

    async def _post_logs(self, chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        status, answer = await self._log_talk.post(f"/tries/{self._try_id}/logs", chunks[0], TIMEOUT_S)
        if status >= 500:
            raise AnswerLost(f"the server answered {status}")
        return [{"try_id": self._try_id, "status": status, **({"size": answer.get("size")} if "size" in answer else {})}]

    async def _insist(self, connection: Connection, verb: str, body: Any) -> tuple[int, Any]:
        """Repeat until the server answers something that another attempt would not change."""
        give_up = boottime() + FINISH_FOR_S
        pause = 0.1
        while True:
            try:
                status, answer = await connection.post(f"/tries/{self._try_id}{verb}", body, 30.0)
            except (ConnectFailed, AnswerLost) as error:
                status, answer = 503, {"detail": str(error)}
            if (status < 500 and status != 429) or boottime() > give_up:
                return status, answer
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause = min(pause * 2, 10.0)


def _say_to_the_kubelet(text: str) -> None:
    """Last words of a container without a log: they stand in its pod's status, and so on the try's page."""
    if TERMINATION_LOG.is_file():
        with contextlib.suppress(OSError):
            TERMINATION_LOG.write_text(text[:1000], encoding="utf-8")
