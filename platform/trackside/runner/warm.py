"""`python -m trackside.runner --reuse`: what runs in a warm pod. It asks for a try, runs it, and asks for the next one.

The token is good for asking (`POST /execution/warm/next`) and nothing else; each try comes claimed, with a token of its own, and is
run by `single.SingleTry` as in a pod that it has for itself. The report of a try and the order of the next share a call. What stays
between tries is the fork server with the imported DAG file, which no try runs in. What a try leaves running is killed, what it
leaves in a /tmp that is the pod's own is removed.

Exit code: 0 it left by itself (idle, old, enough tries, not wanted any more), 1 it was told to stop while a try ran.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import shutil
import socket
import stat
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trackside.runner.http import AnswerLost, ConnectFailed, Connection
from trackside.runner.single import FINISH_FOR_S, SingleTry
from trackside.runner.zygotes import ForkServer

ASK_S = 20
"""A call for the next try is parked this long at most."""
ANSWER_S = 10.0
"""Beyond that, an answer is waited for this long."""
LONGEST_PAUSE_S = 5.0
UNWANTED = frozenset({401, 403, 404, 410})

log = logging.getLogger("trackside.runner")


@dataclass(frozen=True, slots=True)
class Limits:
    """When a warm pod leaves by itself."""

    idle_s: float
    tries: int
    age_s: float


class WarmRunner:
    """See the module."""

    def __init__(self, api_url: str, token: str, limits: Limits, settings: dict[str, Any], empty: Path | None = None) -> None:
        self._api_url = api_url
        self._limits = limits
        self._settings = settings
        self._empty = empty
        self._asking = Connection(api_url, token)
        self._seq = 0
        """Number of the newest call. An answer to an older one is never acted upon, and the server is told so by this number."""
        self._served = 0
        self._began = time.monotonic()
        self._next_order: dict[str, Any] | None = None
        """Came with the answer to the last report."""
        self._single: SingleTry | None = None
        self._ending: set[asyncio.Task[int]] = set()
        """Tries that are over, but for the last lines of their logs."""
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """See the exit code in the module's docstring."""
        forks = ForkServer({"api_url": self._api_url, "cwd": str(Path.cwd()), **self._settings}, sweep=True)
        forks.start_server()
        try:
            while (order := self._next_order or await self._next()) is not None:
                self._next_order = None
                self._served += 1
                await self._serve(order, forks)
                forks.retire_idle()
            codes = await asyncio.gather(*self._ending)
        finally:
            self._asking.close()
            await forks.stop()
        log.info("the pod leaves after %d tries", self._served)
        return 1 if self._stopping.is_set() and any(codes) else 0

    def stop(self) -> None:
        """SIGTERM: end the try, if there is one, and leave."""
        self._stopping.set()
        if self._single is not None:
            self._single.stop()

    async def _serve(self, order: dict[str, Any], forks: ForkServer) -> None:
        """Until its report is accepted: the answer may have brought the next one."""
        self._clean()
        self._single = SingleTry(
            self._api_url, str(order["try_id"]), "", self._settings, forks=forks, order=order, finish=self._report
        )
        running = asyncio.ensure_future(self._single.run())
        if self._stopping.is_set():
            asyncio.get_running_loop().call_soon(self._single.stop)
        for one in [one for one in self._ending if one.done()]:
            self._ending.discard(one)
            if error := one.exception():
                log.error("the end of a try was not told in full", exc_info=error)
        self._ending.add(running)
        reported = asyncio.ensure_future(self._single.reported.wait())
        await asyncio.wait((running, reported), return_when=asyncio.FIRST_COMPLETED)
        reported.cancel()
        self._single = None
        self._clean()

    # Conversation

    def _may_take(self) -> bool:
        """Whether there is room for another try in this pod's life."""
        age = time.monotonic() - self._began
        return not self._stopping.is_set() and self._served < self._limits.tries and age < self._limits.age_s

    async def _report(self, report: dict[str, Any] | None) -> tuple[int, Any]:
        """Tell how a try ended, until the server takes it or has refused it, and take the next one along."""
        give_up = time.monotonic() + FINISH_FOR_S
        pause = 0.1
        while True:
            status, answer = await self._ask({"wait_s": 0, "finished": report, "take": self._may_take()})
            if status == 200:
                self._next_order = answer.get("order")
                told = answer.get("finished") or {}
                return int(told.get("status", 200)), told
            if (status < 500 and status != 429) or time.monotonic() > give_up:
                self._limits = replace(self._limits, tries=0)  # the server may think that it runs: this pod is of no more use
                return status, answer
            pause = await _rest(pause)

    async def _next(self) -> dict[str, Any] | None:
        """The next try; None when it is time to leave. Nobody leaves without a clean answer: a lost one may have held a try."""
        idle_until = min(time.monotonic() + self._limits.idle_s, self._began + self._limits.age_s)
        pause, clean = 0.1, True
        while self._may_take() or not clean:
            left = idle_until - time.monotonic()
            if left <= 0 and clean:
                return None
            asked = asyncio.ensure_future(self._ask({"wait_s": max(0, min(ASK_S, round(left)))}))
            stopped = asyncio.ensure_future(self._stopping.wait())
            await asyncio.wait((asked, stopped), return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if not asked.done():  # told to stop; a try that comes now goes with the pod, and is started elsewhere
                asked.cancel()
                return None
            status, answer = asked.result()
            if status == 200 and answer.get("order"):
                return dict(answer["order"])
            if status in UNWANTED:
                log.warning("no more tries for this pod (%s): %s", status, answer.get("detail"))
                return None
            clean = status == 200
            pause = 0.1 if clean else await _rest(pause)
        return None

    async def _ask(self, body: dict[str, Any]) -> tuple[int, Any]:
        self._seq += 1
        said = {"seq": self._seq, "hostname": socket.gethostname(), **body}
        try:
            return await self._asking.post("/warm/next", said, body["wait_s"] + ANSWER_S)
        except (ConnectFailed, AnswerLost) as error:
            log.warning("no answer to the question for the next try: %s", error)
            return 503, {"detail": str(error)}

    def _clean(self) -> None:
        if self._empty is not None:
            empty(self._empty)


async def _rest(pause: float) -> float:
    """Wait about so long; how long the next time."""
    await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
    return min(pause * 2, LONGEST_PAUSE_S)


def empty(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> None:
    """Remove what is in a folder, but nothing that is mounted below it: that may be somebody's volume."""
    try:
        mounted = [Path(_unescaped(line.split()[4])) for line in mounts.read_text(encoding="utf-8").splitlines()]
    except (OSError, IndexError):
        return
    _remove_inside(folder.resolve(), [place for place in mounted if folder.resolve() in place.parents])


def _remove_inside(folder: Path, mounted: list[Path]) -> None:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        path = Path(entry.path)
        if path in mounted:
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                if any(path in place.parents for place in mounted):
                    _remove_inside(path, mounted)
                else:
                    shutil.rmtree(path, onerror=_make_writable)
            else:
                path.unlink()
        except OSError as error:
            log.warning("%s, which a try left, could not be removed: %s", path, error)


def _make_writable(function: Any, path: str, error: Any) -> None:
    """A folder that its owner made read-only."""
    parent = Path(path).parent
    parent.chmod(parent.stat().st_mode | stat.S_IRWXU)
    if Path(path).is_dir() and not Path(path).is_symlink():
        Path(path).chmod(stat.S_IRWXU)
        shutil.rmtree(path, ignore_errors=True)
    else:
        function(path)


def _unescaped(text: str) -> str:
    return text.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
