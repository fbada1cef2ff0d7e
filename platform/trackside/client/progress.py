"""How far a run is, while a script or a notebook waits for it: `server.wait(dag_id, run_id, progress=True)`.

In a notebook a cell's output that is written anew with every change (a bar, the counts, the tasks that run or failed); on a terminal one
line; elsewhere (a log of a job) one line per change. For `operations.Client.wait` and the command line.
"""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Any

DONE = ("success", "failed", "skipped", "upstream_failed", "removed")
_COLOURS = {"success": "#2a9d5c", "failed": "#d33c3c", "upstream_failed": "#e08a1e", "skipped": "#9a9aa5", "running": "#3d7ff0"}
_WIDTH = 24
_NAMED = 8
"""Tasks that a notebook names."""


class Shown:
    """Call it with the run and its task instances whenever they have changed; `close` ends the line on a terminal."""

    def __init__(self) -> None:
        self._handle: Any = _notebook()
        self._terminal = self._handle is None and sys.stderr.isatty()

    def __call__(self, run: dict[str, Any], tasks: Sequence[dict[str, Any]]) -> None:
        """Show this state."""
        if self._handle is not None:
            from IPython.display import HTML  # type: ignore[import-not-found,unused-ignore]

            self._handle.update(HTML(as_html(run, tasks)))
            return
        done, words = summary(run, tasks)
        if not self._terminal:
            _say(f"{done}/{len(tasks)} done, {words}\n")
            return
        full = _WIDTH * done // max(1, len(tasks))
        line = f"{'█' * full}{'░' * (_WIDTH - full)} {done}/{len(tasks)} {words}"
        _say(f"\r\033[K{line[: shutil.get_terminal_size().columns - 1]}")

    def close(self) -> None:
        """The line is done."""
        if self._terminal:
            _say("\n")


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def summary(run: dict[str, Any], tasks: Sequence[dict[str, Any]]) -> tuple[int, str]:
    """How many task instances have ended, and the state of the run with what its tasks are, in words."""
    counts = Counter(task["state"] or "waiting" for task in tasks)
    words = ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))
    return sum(counts[state] for state in DONE), f"{run['state']} ({words})"


def as_html(run: dict[str, Any], tasks: Sequence[dict[str, Any]]) -> str:
    """The same for a notebook. Names are escaped: they are other people's words."""
    done, words = summary(run, tasks)
    counts = Counter(task["state"] for task in tasks)
    bar = "".join(
        f'<span style="background:{colour};width:{100 * counts[state] / max(1, len(tasks)):.1f}%"></span>'
        for state, colour in _COLOURS.items()
        if counts[state]
    )
    told = [task for task in tasks if task["state"] in ("running", "failed")]
    named = ", ".join(f"{escape(_name(task))} {task['state']}" for task in told[:_NAMED])
    more = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    return (
        f"<div><b>{escape(str(run['dag_id']))}</b> {escape(str(run['dag_run_id']))}: {done} of {len(tasks)} done, {escape(words)}"
        f'<div style="display:flex;height:8px;background:#8884;border-radius:4px;overflow:hidden;margin:4px 0">{bar}</div>'
        f"{named}{more}</div>"
    )


def _name(task: dict[str, Any]) -> str:
    index = task.get("map_index", -1)
    return str(task["task_id"]) if index is None or index < 0 else f"{task['task_id']}[{index}]"


def _notebook() -> Any:
    """The handle of an output of the notebook's cell; None outside of one."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython  # type: ignore[attr-defined,import-not-found,unused-ignore]
    from IPython.display import HTML, display  # type: ignore[import-not-found,unused-ignore]

    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):  # a plain script, or IPython on a terminal
        return None
    return display(HTML(""), display_id=True)
