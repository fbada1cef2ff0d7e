"""Where in the author's file a DAG or task was written, so that every error can name the line.

For `DAG`, operators and `parsing.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

_OWN = f"{Path(__file__).resolve().parent.parent}/"
"""Folder of the `trackside` package: frames below it are ours, not the author's."""


def author_line(depth: int = 2) -> tuple[str, int]:
    """(file, line) of the innermost caller outside Trackside; ("", 0) if there is none."""
    frame = sys._getframe(depth)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_OWN) and not name.startswith("<frozen"):
            return name, frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]  # the loop ends at None
    return "", 0
