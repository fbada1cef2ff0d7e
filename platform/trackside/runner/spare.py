"""A process forked ahead of the next try: the zygote's way to start it without waiting for a fork and cold memory.

For `forkserver`. The spare has left its parent's descriptors, has touched the memory that every try touches (`child.warm`)
and waits for the three descriptors of a try. From then on it is what any other forked child is.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

IDLE_S = 3.0
"""A spare that nobody has needed for so long is let go: it holds some megabytes."""


class Spare:
    """The forker's side."""

    def __init__(self, pid: int, sock: socket.socket) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self._sock = sock

    def hand_over(self, fds: list[int], *, fresh: bool) -> bool:
        """Give it a try; False if it is gone."""
        try:
            socket.send_fds(self._sock, [b"f" if fresh else b"s"], fds)
        except OSError:
            return False
        finally:
            self.let_go()
        return True

    def let_go(self) -> None:
        """Close our end: without a try the process ends."""
        self._sock.close()


def wait_for_try(sock: socket.socket, run: Callable[[list[int], bool], None]) -> None:
    """The spare's side: `run(descriptors, fresh)` once there is a try; returns if there will be none."""
    data, fds, _flags, _address = socket.recv_fds(sock, 1, 3)
    sock.close()
    if data:
        run(fds, data == b"f")
