"""Linux process trees: who descends from whom, dying with the parent, adopting orphans.

For the fork server (kills a try's whole tree, also descendants that called setsid or forked twice) and the agent (cleans up
after a fork server that died). A *subreaper* adopts orphans of its descendants; a task process adopts its own while it
lives, so everything a try started hangs below it, and what outlives it falls to the fork server.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterable
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)
_KERNEL_LISTS_CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children").exists()


_c_prctl = _libc.prctl
_c_prctl.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_long, ctypes.c_long, ctypes.c_long]


def _prctl(option: int, argument: int | bytes) -> None:
    if _c_prctl(option, argument, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def die_with_parent(parent: int) -> None:
    """SIGKILL for this process when `parent` (the pid before the fork) ends; at once if it has ended already."""
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(1)


def become_subreaper() -> None:
    """Orphans below this process become its children instead of init's."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def hide_memory() -> None:
    """Other processes of the same user can no longer read this one's memory and environment (not even /proc/PID/environ)."""
    _prctl(_PR_SET_DUMPABLE, 0)


def set_name(name: str) -> None:
    """Short name shown by ps and top (15 bytes)."""
    _prctl(_PR_SET_NAME, name.encode()[:15])


def children(pid: int) -> list[int]:
    """Direct children of `pid` (all its threads), zombies included; [] if it is gone."""
    if not _KERNEL_LISTS_CHILDREN:
        return children_by_scan(pid)
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - called for every kill; /proc, not a folder
    except OSError:
        return found
    for thread in threads:
        try:
            found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_bytes().split())
        except OSError:  # that thread has ended: its children now belong to another one
            continue
    return found


def children_by_scan(parent: int) -> list[int]:
    """`children` by reading all of /proc: slower, but nothing is missed while siblings come and go."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit() and (fields := _stat(int(name))) and int(fields[1]) == parent:
            found.append(int(name))
    return found


class OwnChildren:
    """Pids of this process's direct children, cheap enough to look after every end. Only for single-threaded processes."""

    def __init__(self) -> None:
        self.fd = os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY) if _KERNEL_LISTS_CHILDREN else -1

    def __call__(self) -> list[int]:
        if self.fd < 0:
            return children_by_scan(os.getpid())
        return list(map(int, os.pread(self.fd, 65536, 0).split()))


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat after the command name: state, parent, process group …"""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def descendants(pid: int) -> list[int]:
    """Everything below `pid`, parents before children, without `pid`."""
    found: list[int] = []
    queue = [pid]
    while queue:
        below = children(queue.pop())
        found += below
        queue += below
    return found


def is_running(pid: int) -> bool:
    """Whether a process of this number exists and is no zombie."""
    fields = _stat(pid)
    return fields is not None and fields[0] not in ("Z", "X")


def thread_count() -> int:
    """Threads of this process, also those Python does not know."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208


def has_children() -> bool:
    """Whether this process has any child, running or ended: one system call, and exact, unlike a look at /proc."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def send(pids: Iterable[int], signum: int) -> None:
    """Signal each; those that are gone or not ours are passed over."""
    for pid in pids:
        try:
            os.kill(pid, signum)
        except (ProcessLookupError, PermissionError):
            pass


def kill_orphans(
    keep: Iterable[int] = (),
    spare: Iterable[int] = (),
    *,
    among: Iterable[int] | None = None,
    thorough: bool = False,
) -> int:
    """SIGKILL and reap every child of this process that is not in `keep` (those with a parent who waits for them).

    Children in `spare` are only reaped if they ended. What the killed leave behind becomes a child in turn: call again
    until the answer, the number of strangers still there, is 0. `thorough` reads all of /proc to be sure of that 0, and
    reads again after it reaped any: their children may have come after the first look.
    `among` are this process's children if they are known already.
    """
    keep, spare = set(keep), set(spare)
    while True:
        children_now = among
        if children_now is None:
            children_now = children_by_scan(os.getpid()) if thorough else children(os.getpid())
        remaining = reaped = 0
        for pid in children_now:
            if pid in keep:
                continue
            if pid not in spare:
                send([pid], signal.SIGKILL)
            try:
                gone, _ = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue
            reaped += bool(gone)
            remaining += not gone
        if not reaped or not thorough or among is not None:
            return remaining
