"""Hints from the kernel that something in the DAG folder changed: they wake the processor, they are never believed.

For `processor`. Where notifications do not work (NFS, some containers) the scan alone finds changes, a little later.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import watchfiles

logger = logging.getLogger(__name__)

STEP_MS = 200
"""How often pending notifications are looked at. Shorter costs CPU while idle (50 ms: 0.25 % of a core, 200: 0.05 %)."""


class Watcher:
    """One thread. `restart()` after the folder was replaced; ends with `stop()`."""

    def __init__(self, folder: Path, wake: Callable[[], None]) -> None:
        self.folder = folder
        self.wake = wake
        self._stopping = threading.Event()
        self._round = threading.Event()
        """Set to end the current watch."""
        self._thread = threading.Thread(target=self._run, name="dag-folder-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def restart(self) -> None:
        """Watch anew: the old folder is watched by inode, not by name."""
        self._round.set()

    def stop(self) -> None:
        """End the thread; it calls nothing any more when this returns."""
        self._stopping.set()
        self._round.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._round.clear()
            try:
                self._watch()
            except Exception as e:
                # no folder yet, no inotify watches left, …: the scan goes on without hints
                logger.debug("no notifications for %s: %s", self.folder, e)
            if not self._round.is_set():
                self._stopping.wait(2.0)

    def _watch(self) -> None:
        changes = watchfiles.watch(
            self.folder,
            watch_filter=_matters,
            step=STEP_MS,
            debounce=2 * STEP_MS,
            rust_timeout=5_000,
            stop_event=self._round,
            raise_interrupt=False,
            ignore_permission_denied=True,
        )
        for _ in changes:
            self.wake()


def _matters(_change: watchfiles.Change, path: str) -> bool:
    """Sources and folders; not what editors and Python write beside them."""
    name = path.rpartition("/")[2]
    return "/__pycache__" not in path and not name.endswith((".pyc", ".swp", "~"))
