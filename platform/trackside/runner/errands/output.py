"""What an errand prints and logs, on its standard output, with known secrets hidden. For `jobs`."""

from __future__ import annotations

import io
import logging
import sys

from trackside.core.masking import Masker

masker = Masker()


class _Hiding(io.TextIOBase):
    """A stream that hides secrets line by line."""

    def __init__(self, fd: int) -> None:
        self._out = open(fd, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        self._rest = ""

    def write(self, text: str) -> int:
        """Whole lines go out at once, the rest waits."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._out.write(masker.hide(line) + "\n")
        return len(text)

    def flush(self) -> None:
        """What waits goes out, too."""
        if self._rest:
            self._out.write(masker.hide(self._rest) + "\n")
            self._rest = ""
        self._out.flush()

    def writable(self) -> bool:
        """Yes."""
        return True


def set_up() -> None:
    """Standard streams and logging of this process."""
    sys.stdout = _Hiding(1)
    sys.stderr = _Hiding(1)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
