"""How the process of triggers speaks to the triggerer. For `child` and what runs in it."""

from __future__ import annotations

import os
import threading
from typing import Any

from trackside.runner import jsonio


class Voice:
    """The way up to the triggerer; whole lines, from any thread."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()

    def say(self, **message: Any) -> None:
        """Send one message; a triggerer that is gone ends this process."""
        data = memoryview(jsonio.dumps(message) + b"\n")
        with self._lock:
            try:
                while data:
                    data = data[os.write(self._fd, data) :]
            except OSError:
                os._exit(1)
