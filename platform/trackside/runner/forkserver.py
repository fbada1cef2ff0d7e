"""The fork server and its zygotes: warm processes that fork one process per try.

The agent starts the fork server as a fresh interpreter (`python -m trackside.runner.forkserver FD`). It imports the SDK and
forks *zygotes*: each imports one DAG file and then forks a process for every try of that file, so that the gap between
fork and the user's first line is a millisecond or two. Files that cannot be kept imported (they start threads or processes,
ask the server for variables while they load, fail to load) get a plain fork of the fork server that imports them itself.

Both kinds run the same loop, `Forker`: single-threaded, no signal handlers, so that what is forked is clean. They own the
processes they forked: they reap them, kill their trees on order, and kill what a try left behind. When the agent dies, its
sockets close, and everything below ends. Messages: see `channel` and the methods here; the other side is `zygotes`.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass, field
from typing import Any

import trackside.airflow as bridge
from trackside.runner import child, procs
from trackside.runner.channel import BlockingChannel
from trackside.runner.loading import LoadedFile, load_for_zygote
from trackside.runner.rehearsal import rehearse
from trackside.runner.spare import IDLE_S, Spare, wait_for_try

PRELOAD = (
    "asyncio", "concurrent.futures", "csv", "email.message", "http.client", "logging.handlers", "multiprocessing.pool",
    "ssl", "subprocess", "tempfile", "urllib.request", "uuid", "zoneinfo", "jinja2.sandbox", "pendulum",
    "jinja2.ext", "jinja2.nativetypes", "pprint", "trackside.sdk.parsing", "trackside.sdk.varying",
)  # fmt: skip
"""What tasks and DAG files commonly use beyond what the import bridge preloads."""
FOR_ONE = ("trackside.sdk.parsing", "trackside.sdk.execution.run")
"""What a single task needs whatever it does."""
SWEEP_S = 0.02
"""Pause between looks at killed processes that have not gone yet."""
TELL_S = 0.3
"""Pids of tries that run longer than this are told to the agent."""


@dataclass(slots=True)
class Task:
    """One forked try (or, in the fork server, one zygote: then `zygote` is set)."""

    try_id: str
    pid: int
    pidfd: int
    zygote: int | None = None
    deadline: float | None = None
    """Set by a kill order: when SIGTERM becomes SIGKILL."""
    spared: set[int] = field(default_factory=set)
    """Descendants that got SIGTERM and may use the grace time even when the task itself has gone."""
    status: int | None = None
    """Wait status, once reaped (only kept while leftovers of a killed try are awaited)."""


class Forker:
    """Forks tries when told, watches them, kills them with everything below them."""

    def __init__(self, channel: BlockingChannel, settings: dict[str, Any], loaded: LoadedFile | None = None) -> None:
        self.channel = channel
        self.settings = settings
        self.loaded = loaded
        self.tasks: dict[int, Task] = {}
        """By pidfd."""
        self.dying: list[Task] = []
        """Killed and reaped, but something of their tree may still run."""
        self._killing = False
        self._sweep_at: float | None = None
        self._children = procs.OwnChildren()
        self._untold: list[Task] = []
        """Started, but the agent has not been told the pid: it has no use for those that end at once."""
        self._tell_at = 0.0
        self._spare: Spare | None = None
        self._spare_since = 0.0
        self._poll = select.poll()
        self._poll.register(channel.sock.fileno(), select.POLLIN)

    def serve(self) -> None:
        """Work until the agent closes the channel, then kill what is left and return."""
        self._obey()
        while True:
            for fd, _event in self._poll.poll(self._timeout_ms()):
                if fd in self.tasks:
                    self._ended(self.tasks[fd])
                elif self._spare is not None and fd == self._spare.pidfd:
                    self._spare_ended()
                elif not self.channel.receive():
                    self._kill_everything()
                    return
                else:
                    self._obey()
            now = time.monotonic()
            self._keep_spare(now)
            self._tell_pids(now)
            if self.dying or self._killing or self._sweep_at is not None:
                self._look_after_the_dying(now)

    def _obey(self) -> None:
        while (received := self.channel.next()) is not None:
            message, fds = received
            getattr(self, f"_op_{message['op']}")(message, fds)

    # Orders

    def _op_start(self, message: dict[str, Any], fds: list[int]) -> None:
        """{"try", "fds": 3}: fork a process for the try; its control socket, stdout and stderr come along."""
        fresh = self.loaded is not None and not self.loaded.changed()
        if self.loaded is not None and not fresh:
            self.channel.send({"op": "stale"})
        task = self._hand_over(message, fds, fresh) or self._fork(
            message, fds, lambda parent: child.main(fds, parent, self.settings, self.loaded, fresh=fresh)
        )
        if task is not None:
            if not self._untold:
                self._tell_at = time.monotonic() + TELL_S
            self._untold.append(task)

    def _op_zygote(self, message: dict[str, Any], fds: list[int]) -> None:
        """{"id", "path", "dags_folder", "fds": 1} (fork server only): fork a zygote for that file; its channel comes along."""
        self._fork(message, fds, lambda parent: _zygote(fds[0], parent, self.settings, message))

    def _op_kill(self, message: dict[str, Any], fds: list[int]) -> None:
        """{"try" or "id", "grace": s}: SIGTERM to the whole tree now, SIGKILL after the grace time."""
        for task in list(self.tasks.values()):
            if (task.zygote or task.try_id) != (message.get("id") or message.get("try")):
                continue
            self._killing = True
            deadline = time.monotonic() + message["grace"]
            if task.deadline is None:
                tree = procs.descendants(task.pid)
                task.spared.update(tree)
                if message["grace"] > 0:
                    procs.send([task.pid, *tree], signal.SIGTERM)
            task.deadline = min(deadline, task.deadline or deadline)

    # The spare

    def _hand_over(self, message: dict[str, Any], fds: list[int], fresh: bool) -> Task | None:
        """Give the try to the spare, if there is one."""
        spare = self._spare
        if spare is None or not spare.hand_over(fds, fresh=fresh):
            return None  # one that died is found by its pidfd
        self._spare = None
        for fd in fds:
            os.close(fd)
        task = self.tasks[spare.pidfd] = Task(message["try"], spare.pid, spare.pidfd)
        return task

    def _keep_spare(self, now: float) -> None:
        """Have one while tries come one after the other; when many run, forks made ahead would only compete with them."""
        if self.loaded is None:
            return
        if self._spare is None and len(self.tasks) == 1 and not self._killing:
            self._spare_since = now
            self._make_spare()
        elif self._spare is not None and not self.tasks and now - self._spare_since > IDLE_S:
            self._spare.let_go()

    def _make_spare(self) -> None:
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:  # the next try will say so, if it is still true then
            ours.close()
            theirs.close()
            return
        if pid == 0:
            try:
                ours.close()
                self._let_go()
                procs.die_with_parent(parent)
                if not self.settings.get("cold"):
                    child.warm()
                wait_for_try(theirs, lambda fds, fresh: child.main(fds, parent, self.settings, self.loaded, fresh=fresh))
                os._exit(0)
            except BaseException:  # nothing may climb back into the loop of the parent
                traceback.print_exc()
            finally:
                os._exit(1)
        theirs.close()
        self._spare = Spare(pid, ours)
        self._poll.register(self._spare.pidfd, select.POLLIN)

    def _spare_ended(self) -> None:
        spare, self._spare = self._spare, None
        assert spare is not None
        spare.let_go()
        self._poll.unregister(spare.pidfd)
        os.close(spare.pidfd)
        try:
            os.waitpid(spare.pid, 0)
        except ChildProcessError:  # code of a DAG file reaped it
            pass

    def _fork(self, message: dict[str, Any], fds: list[int], run: Any) -> Task | None:
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self.channel.send({"op": "refused", **message, "error": f"fork: {error.strerror}"})
            for fd in fds:
                os.close(fd)
            return None
        if pid == 0:
            try:
                self._let_go()
                run(parent)
            except BaseException:  # nothing may climb back into the loop of the parent
                traceback.print_exc()
            finally:
                os._exit(1)
        for fd in fds:
            os.close(fd)
        task = Task(message.get("try", ""), pid, os.pidfd_open(pid), message.get("id"))
        self.tasks[task.pidfd] = task
        self._poll.register(task.pidfd, select.POLLIN)
        return task

    def _let_go(self) -> None:
        """In the forked child: nothing of the forker stays open."""
        self.channel.close()
        for pidfd in self.tasks:
            os.close(pidfd)
        if self._spare is not None:
            self._spare.let_go()
            os.close(self._spare.pidfd)
        if self._children.fd >= 0:
            os.close(self._children.fd)

    # Ends

    def _ended(self, task: Task) -> None:
        self._poll.unregister(task.pidfd)
        del self.tasks[task.pidfd]
        os.close(task.pidfd)
        try:
            _, task.status = os.waitpid(task.pid, 0)
        except ChildProcessError:  # code of a DAG file reaped it
            task.status = 0
        if task.deadline is not None or (task.zygote is not None and task.status != 0):
            self.dying.append(task)
            return
        self._tell_end(task)
        below = self._children()
        if len(below) > len(self.tasks) + (self._spare is not None) and self._kill_orphans(below):
            self._sweep_at = time.monotonic() + SWEEP_S

    def _tell_pids(self, now: float) -> None:
        if self._untold and now >= self._tell_at:
            for task in self._untold:
                if task.status is None:
                    self.channel.send({"op": "started", "try": task.try_id, "pid": task.pid})
            self._untold.clear()

    def _look_after_the_dying(self, now: float) -> None:
        self._killing = any(task.deadline is not None for task in self.tasks.values())
        for task in self.tasks.values():
            if task.deadline is not None and now >= task.deadline:
                task.spared.clear()
                procs.send([task.pid, *procs.descendants(task.pid)], signal.SIGKILL)
        for task in self.dying:
            if task.zygote is not None or now >= (task.deadline or 0):
                task.spared.clear()
        if self.dying:
            if self._kill_orphans(None) == 0:
                for task in self.dying:
                    self._tell_end(task)
                self.dying.clear()
        elif self._sweep_at is not None and now >= self._sweep_at:
            self._sweep_at = now + SWEEP_S if self._kill_orphans(self._children()) else None

    def _kill_orphans(self, among: list[int] | None) -> int:
        spare = {pid for task in (*self.dying, *self.tasks.values()) for pid in task.spared}
        keep = [task.pid for task in self.tasks.values()]
        if self._spare is not None:
            keep.append(self._spare.pid)
        return procs.kill_orphans(keep, spare, among=among, thorough=True)

    def _tell_end(self, task: Task) -> None:
        if task.zygote is not None:
            self.channel.send({"op": "zygote_gone", "id": task.zygote, "status": task.status})
        else:
            self.channel.send({"op": "exited", "try": task.try_id, "pid": task.pid, "status": task.status})

    def _timeout_ms(self) -> float | None:
        if self.dying:
            return SWEEP_S * 1000
        due = [task.deadline for task in self.tasks.values() if task.deadline is not None] if self._killing else []
        if self._sweep_at is not None:
            due.append(self._sweep_at)
        if self._untold:
            due.append(self._tell_at)
        if self._spare is not None and not self.tasks:
            due.append(self._spare_since + IDLE_S)
        if not due:
            return None
        return max(min(due) - time.monotonic(), SWEEP_S) * 1000

    def _kill_everything(self) -> None:
        until = time.monotonic() + 10
        procs.send([pid for t in self.tasks.values() for pid in (t.pid, *procs.descendants(t.pid))], signal.SIGKILL)
        while procs.has_children() and time.monotonic() < until:
            if procs.kill_orphans(thorough=True):
                time.sleep(SWEEP_S)


def _zygote(channel_fd: int, parent: int, settings: dict[str, Any], message: dict[str, Any]) -> None:
    """Life of a zygote: import the file, tell whether it may be kept, fork tries."""
    procs.die_with_parent(parent)
    procs.become_subreaper()
    procs.set_name("trackside-task")  # its tries inherit the name
    channel = BlockingChannel(socket.socket(fileno=channel_fd))
    loaded = load_for_zygote(message["path"], message["dags_folder"], settings)
    if loaded.unfit:
        channel.send({"op": "unfit", "reason": loaded.unfit})
        return
    child.prepare(settings)
    settle_memory()
    channel.send({"op": "ready"})
    Forker(channel, settings, loaded).serve()
    if not procs.has_children():
        os._exit(0)  # tells the fork server that nothing of this file is left to look for


def warm_up(settings: dict[str, Any]) -> None:
    """Import what tasks will want, and run one task that does nothing, so that caches are filled before the first fork.

    The setting `cold` leaves out what only the SDK's tasks need, `single` all that not every task needs: there will be no second
    one to make up for it.
    """
    if settings.get("single") and not settings.get("cold"):
        bridge.install()
        for name in FOR_ONE:
            importlib.import_module(name)
        return
    for name in (*PRELOAD, *settings.get("preload", ())):
        importlib.import_module(name)
    if settings.get("cold"):
        return
    bridge.preload()
    environment = dict(os.environ)
    try:
        rehearse()
        rehearse("{{ ds }}")
    except Exception:  # only costs the first tasks a little time
        traceback.print_exc()
    finally:
        os.environ.clear()
        os.environ.update(environment)


def settle_memory() -> None:
    """Collect once, then keep the collector away from what children share, so that pages stay shared."""
    gc.collect()
    gc.disable()
    gc.freeze()


def main(argv: list[str]) -> int:
    """The fork server: argv[1] is the descriptor of its channel, the first message its settings."""
    os.environ.pop("LD_BIND_NOW", None)
    procs.become_subreaper()
    procs.set_name("trackside-fork")
    channel = BlockingChannel(socket.socket(fileno=int(argv[1])))
    received = None
    while received is None:
        if not channel.receive():
            return 0
        received = channel.next()
    settings = received[0]
    os.chdir(settings["cwd"])
    warm_up(settings)
    child.prepare(settings)
    if settings.get("single"):
        gc.freeze()
    else:
        settle_memory()
    Forker(channel, settings).serve()
    return 0


if __name__ == "__main__":
    # Under its real name, so that pickled or reported classes are found again and `__main__` stays the task's own.
    from trackside.runner.forkserver import main as run

    sys.exit(run(sys.argv))
