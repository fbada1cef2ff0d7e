"""`python -m config.standalone.warm <control>`: imports Django once and forks the server's processes from itself.

Importing the server takes two seconds of CPU and sixty megabytes; web, scheduler, DAG processor and the preparation of
the database share one import this way, and one that died is back in a moment. This process does nothing but import,
fork and wait: no connection, no thread, no file of its own. Its children die with it (PDEATHSIG), as it dies with the
supervisor. The supervisor's side, and what the packets on the control socket mean, is in `forks`.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
from typing import Any

from config.standalone.launch import PR_SET_PDEATHSIG

PACKET = 65_536
EARLY = (
    "uvicorn", "uvicorn.lifespan.on", "uvicorn.protocols.http.httptools_impl", "uvloop", "psycopg", "cryptography.fernet",
    "django.contrib.auth.hashers", "django.core.management.commands.migrate", "django.db.backends.postgresql.base",
    "django.db.migrations.executor", "django.forms", "django.template", "django.urls", "argon2", "orjson", "jsonschema",
)  # fmt: skip
"""Can be imported before there is a database, and so before the settings."""
LATE = (
    "config.asgi", "config.urls", "config.web", "apps.runs.loop", "apps.runs.scheduler", "apps.dags.processor",
    "apps.runs.triggerer.service",
)  # fmt: skip
"""What web, scheduler, DAG processor and triggerer need; imported while the tables are being prepared."""


class Order:
    """What a fork is to become; `run` is called once the fork has left the loop."""

    def __init__(self, entry: str, environment: dict[str, str], listener: int | None) -> None:
        self.entry = entry
        self.environment = environment
        self.listener = listener

    def run(self) -> None:
        os.environ.update(self.environment)
        try:
            from setproctitle import setproctitle

            setproctitle(f"trackside {self.entry}")
        except ImportError:
            pass
        if self.entry == "prepare":
            from config.standalone import prepare

            prepare.main()
        elif self.entry == "web":
            from config import web

            web.main(["--fd", str(self.listener)])
        else:
            from django.core.management import call_command

            call_command(self.entry)


class Warm:
    """The loop: one packet or one ended child at a time."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.children: dict[int, int] = {}
        """pidfd → process id"""

    def serve(self) -> Order | None:
        """Returns in the parent when the supervisor is gone (None), and in each fork with what it is to become."""
        while True:
            poll = select.poll()
            for descriptor in (self.control.fileno(), *self.children):
                poll.register(descriptor, select.POLLIN)
            for descriptor, _ in poll.poll():
                if descriptor in self.children:
                    self._report_end(descriptor)
                    continue
                packet, fds, _, _ = socket.recv_fds(self.control, PACKET, 4)
                if not packet:
                    return None
                order = self._obey(json.loads(packet), fds)
                if order is not None:
                    return order

    def _obey(self, wanted: dict[str, Any], fds: list[int]) -> Order | None:
        if wanted["do"] == "setup":
            self._set_up(wanted["environment"])
        elif wanted["do"] == "load":
            load(LATE)
        elif wanted["do"] == "fork":
            return self._fork(wanted, fds)
        return None

    def _set_up(self, environment: dict[str, str]) -> None:
        os.environ.update(environment)
        import django

        django.setup()

    def _fork(self, wanted: dict[str, Any], fds: list[int]) -> Order | None:
        assert threading.active_count() == 1, f"something imported started threads: {threading.enumerate()}"
        gc.collect()
        gc.freeze()  # what is shared now stays shared: collections of the children do not touch it
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            self._settle(parent, fds[0])
            return Order(wanted["entry"], wanted["environment"], fds[1] if len(fds) > 1 else None)
        for descriptor in fds:
            os.close(descriptor)
        self.children[os.pidfd_open(child)] = child
        self._say({"forked": wanted["number"], "pid": child})
        return None

    def _settle(self, parent: int, output: int) -> None:
        """In the fork: a session of its own that dies with the parent, its output, nothing else of the parent's."""
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(75)
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        for descriptor in (output, *self.children):
            os.close(descriptor)
        self.control.close()
        gc.enable()

    def _report_end(self, descriptor: int) -> None:
        pid = self.children.pop(descriptor)
        os.close(descriptor)
        _, status = os.waitpid(pid, 0)
        self._say({"ended": pid, "code": os.waitstatus_to_exitcode(status)})

    def _say(self, packet: dict[str, Any]) -> None:
        try:
            self.control.send(json.dumps(packet).encode())
        except OSError:
            pass  # the supervisor is gone; the next packet says so


def load(names: tuple[str, ...]) -> None:
    """Imports modules for those who come after us. What fails here fails again, and visibly, where it is needed."""
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            sys.stderr.write(f"{name} is not shared: {error}\n")


def main() -> None:
    gc.disable()  # imports make no garbage worth looking for
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    control = socket.socket(fileno=int(sys.argv[1]))
    load(EARLY)
    order = Warm(control).serve()
    if order is not None:
        order.run()


if __name__ == "__main__":
    main()
