"""`python -m trackside.runner --reuse`: what runs in a warm pod. It asks for a try, runs it, and asks for the next one.

The token is good for asking (`POST /execution/warm/next`) and nothing else; each try comes with a start token of its own and is run
by `single.SingleTry` as in a pod that it has for itself. What stays between tries is the fork server with the imported
DAG file, which no try runs in. What a try leaves running is killed, what it leaves in a /tmp that is the pod's own is removed.

Exit code: 0 it left by itself (idle, old, enough tries, not wanted any more), 1 it was told to stop while a try ran.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import shutil
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trackside.runner.http import AnswerLost, ConnectFailed, Connection
from trackside.runner.single import SingleTry
from trackside.runner.zygotes import ForkServer

ASK_S = 20
"""A call for the next try is parked this long at most."""
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
        self._single: SingleTry | None = None
        self._ending: set[asyncio.Task[int]] = set()
        """Tries that are over, but for the last lines of their logs."""
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """See the exit code in the module's docstring."""
        forks = ForkServer({"api_url": self._api_url, "cwd": str(Path.cwd()), **self._settings}, sweep=True)
        forks.start_server()
        began = time.monotonic()
        served = 0
        try:
            while served < self._limits.tries and not self._stopping.is_set():
                order = await self._next(until=began + self._limits.age_s)
                if order is None:
                    break
                served += 1
                await self._serve(order, forks)
                forks.retire_idle()
            codes = await asyncio.gather(*self._ending)
        finally:
            self._asking.close()
            await forks.stop()
        log.info("the pod leaves after %d tries", served)
        return 1 if self._stopping.is_set() and any(codes) else 0

    def stop(self) -> None:
        """SIGTERM: end the try, if there is one, and leave."""
        self._stopping.set()
        if self._single is not None:
            self._single.stop()

    async def _serve(self, order: dict[str, Any], forks: ForkServer) -> None:
        """Until its report is accepted: the server may have the next one by then."""
        self._clean()
        self._single = SingleTry(self._api_url, str(order["try_id"]), str(order["start_token"]), self._settings, forks=forks)
        running = asyncio.ensure_future(self._single.run())
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

    async def _next(self, until: float) -> dict[str, Any] | None:
        """The next try; None when it is time to leave. An answer with a try is never given up: whoever leaves has no call under way."""
        leave_at = min(time.monotonic() + self._limits.idle_s, until)
        pause = 0.1
        while not self._stopping.is_set():
            left = leave_at - time.monotonic()
            if left <= 0:
                return None
            asked = asyncio.ensure_future(self._ask(max(1, min(ASK_S, round(left)))))
            stopped = asyncio.ensure_future(self._stopping.wait())
            await asyncio.wait((asked, stopped), return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if not asked.done():  # told to stop: a try that comes now is handed to another pod, because this one has not begun it
                asked.cancel()
                return None
            status, answer = asked.result()
            if status == 200 and answer.get("try_id"):
                return dict(answer)
            if status in UNWANTED:
                log.warning("no more tries for this pod (%s): %s", status, answer.get("detail"))
                return None
            if status != 200:
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                pause = min(pause * 2, LONGEST_PAUSE_S)
            else:
                pause = 0.1
        return None

    async def _ask(self, wait_s: int) -> tuple[int, Any]:
        try:
            return await self._asking.post("/warm/next", {"wait_s": wait_s}, wait_s + 10.0)
        except (ConnectFailed, AnswerLost) as error:
            log.warning("no answer to the question for the next try: %s", error)
            return 503, {}

    def _clean(self) -> None:
        if self._empty is not None:
            empty(self._empty)


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
