"""One DAG bundle as the processor sees it: the folder to scan, what is known of its files, and the refreshing of a remote.

For `processor`, which has one per bundle. A remote is refreshed by a thread of its own, so that a slow or broken one holds
up nobody: what was fetched last stays and its DAGs go on; the reason is shown with the bundle (see `catalogue.bundle_problem`)
and in the processor's health. The thread touches no database but for connections.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from django.db import close_old_connections, connection

from apps.access import teams
from apps.access.models import Connection
from apps.dags import answers
from apps.dags.known import Known, Register
from apps.dags.scanning import Scan, Scanner
from apps.dags.watching import Watcher
from trackside.runner import lookup
from trackside.runner.bundles import Bundle, BundleConfig, BundleError, open_bundle

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 5.0
"""Before a remote that failed is asked again; doubled each time, up to the refresh interval."""


class Source:
    """One bundle. `start` begins watching and refreshing; `close` ends both."""

    def __init__(
        self,
        config: BundleConfig,
        storage: Path,
        wake: Callable[[], None],
        *,
        syntax: str,
        reparse_interval: float,
        share: float,
        watch: bool,
    ) -> None:
        self.config = config
        self.bundle: Bundle = open_bundle(config, storage, partial(connection_of, config.name))
        self.folder = self.bundle.root
        self.scanner = Scanner(self.folder, syntax=syntax)
        self.files = Register(self.folder, reparse_interval, share, bundle_name=config.name)
        self.wake = wake
        self.error: str | None = None
        """Why the last refresh failed."""
        self.told: str | None = None
        """What of it the catalogue knows."""
        self.refreshed_at: float | None = None
        """Unix time of the last refresh that worked."""
        self._seen_version: str | None = None
        self._watch = watch
        self._watcher: Watcher | None = None
        self._folder_id: tuple[int, int] | None = None
        self._folder_told = False
        self._stopping = threading.Event()
        self._asked = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Called once, by the loop's thread."""
        if self.bundle.remote:
            self._thread = threading.Thread(target=self._refresh_for_ever, name=f"bundle-{self.config.name}", daemon=True)
            self._thread.start()
        elif self._watch:
            self._watcher = Watcher(self.folder, self.wake)
            self._watcher.start()

    def close(self) -> None:
        """End the watch; a refresh that hangs in the network is left to end with the process."""
        self._stopping.set()
        self._asked.set()
        if self._watcher is not None:
            self._watcher.stop()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(1.0)

    def refresh_soon(self) -> None:
        """Ask the remote now instead of at its next turn."""
        self._asked.set()

    def version(self) -> str | None:
        """See `Bundle.version`."""
        return self.bundle.version()

    def scan(self) -> Scan | None:
        """What lies in the folder; None when nothing can be said: then all DAGs stay as they are."""
        if self.version() == "":
            return None
        try:
            scan = self.scanner.scan()
        except OSError as e:
            if not self._folder_told and not self.bundle.remote:
                logger.warning("The DAG folder %s cannot be read (%s). DAGs stay as they are.", self.folder, e.strerror or e)
            self._folder_told = True
            return None
        version = self.version()
        if version == "":
            return None  # it was changed while we looked
        self._folder_told = False
        if self._watcher and self._folder_id not in (None, scan.folder_id):
            self._watcher.restart()
        self._folder_id = scan.folder_id
        return scan

    def follow_version(self, priority: int) -> None:
        """After a scan: have every file parsed under the new version; changed ones are queued already and come first."""
        version = self.version()
        if version != self._seen_version and version:
            if self._seen_version is not None:
                logger.info("bundle %s: now at %s", self.config.name, version[:12])
            for known in self.files.all():
                if known.priority is None:
                    self.files.enqueue(known, priority)
            self._seen_version = version

    def health(self) -> dict[str, Any]:
        """For the process list."""
        return {
            "name": self.config.name, "kind": self.config.kind, "version": self.version() or None, "files": len(self.files),
            "refreshed_at": self.refreshed_at, "error": self.error,
        }  # fmt: skip

    def parse_again(self, known: Known, priority: int) -> None:
        """Queue one file."""
        self.files.enqueue(known, priority)

    def refresh_once(self) -> bool:
        """Ask the remote; True if files changed. What goes wrong is in `error`."""
        try:
            changed = self.bundle.refresh()
        except BundleError as e:
            if str(e) != self.error:
                logger.warning("%s", e)
            self.error = str(e)
            return False
        except Exception as e:
            logger.exception("bundle %s", self.config.name)
            self.error = f"Bundle {self.config.name}: {type(e).__name__}: {e}"
            return False
        self.error, self.refreshed_at = None, time.time()
        return changed

    def _refresh_for_ever(self) -> None:
        pause = FIRST_PAUSE_S
        while not self._stopping.is_set():
            before = self.error
            changed = self.refresh_once()
            connection.close()
            if changed or before != self.error:
                self.wake()
            pause = FIRST_PAUSE_S if self.error is None else min(pause * 2, max(self.config.refresh_interval, FIRST_PAUSE_S))
            wait = self.config.refresh_interval if self.error is None else pause
            self._asked.wait(wait)
            self._asked.clear()


def connection_of(bundle: str, conn_id: str) -> dict[str, Any] | None:
    """A connection's fields, for a bundle: from secrets back ends and the environment, else from the database.

    By the rule for workers, which fetch the same bundle with a token of one of its tasks (`teams`). Raises BundleError for another team's.
    """
    if (kept_elsewhere := lookup.connection(conn_id)) is not None:
        return kept_elsewhere
    close_old_connections()
    found = Connection.objects.filter(conn_id=conn_id).first()
    if found is not None and not teams.may_have(found, teams.Code(bundle)):
        raise BundleError(  # whoever reads this wrote the bundle's settings: the name is theirs
            f"Bundle {bundle}: the connection {conn_id} belongs to team {found.team_name}, and the bundle does not. Give the bundle that "
            "team_name, take the team away from the connection, or name another one."
        )
    return answers.fields_of(found) if found is not None else None
