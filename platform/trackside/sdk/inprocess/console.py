"""What the author sees while a test runs: the log on standard error, questions on the terminal, the outcome.

For `entry` and `ledger`. Where logging is set up already (pytest, an application), nothing is added to it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from trackside.sdk.log import redact

log = logging.getLogger("trackside.test")


class _Lines(logging.Formatter):
    """One line per record, secrets hidden."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        where = getattr(record, "task", None) or current_task or "-"
        record.message = record.getMessage()
        text = f"{at:%H:%M:%S} {record.levelname.lower():<7} {where}: {record.message}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return str(redact(text))


current_task = ""
"""Which task speaks; set by the ledger."""


def set_up() -> None:
    """Send the log to standard error unless somebody has configured logging."""
    root = logging.getLogger()
    if root.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    root.addHandler(handler)
    root.setLevel(logging.INFO)


def speaks(name: str) -> None:
    """From now on the log is that of task `name`."""
    global current_task
    current_task = name


def answer(task_id: str, asked: dict[str, Any], given: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The answer to a question of a task: from `given`, from the terminal, or its defaults; else that nobody answered."""
    options, defaults = list(asked.get("options") or ()), asked.get("defaults")
    chosen = list(given[task_id]) if task_id in given else None
    if chosen is None and sys.stdin.isatty():
        chosen = _ask(task_id, asked, options)
    if chosen is None and defaults is not None:
        log.info("%s asks %r; nobody is here, so its defaults %s are taken", task_id, asked.get("subject"), defaults)
        chosen = list(defaults)
    if chosen is None:
        why = f"Nobody is here to answer {asked.get('subject')!r} and it has no defaults; give answers={{{task_id!r}: [{options[0]!r}]}}"
        return {"error": why, "error_type": "timeout"}
    params = {name: param.get("value") for name, param in (asked.get("params") or {}).items() if isinstance(param, dict)}
    return {
        "chosen_options": chosen,
        "params_input": params,
        "responded_at": datetime.now(UTC).isoformat(),
        "responded_by_user": {"id": "dag_test", "name": "dag_test"},
        "timedout": False,
    }


def _ask(task_id: str, asked: dict[str, Any], options: list[str]) -> list[str]:
    sys.stderr.write(f"\n{task_id}: {asked.get('subject')}\n")
    if asked.get("body"):
        sys.stderr.write(f"{asked['body']}\n")
    for number, option in enumerate(options, 1):
        sys.stderr.write(f"  {number}  {option}\n")
    several = " (several: 1,3)" if asked.get("multiple") else ""
    while True:
        sys.stderr.write(f"Number{several}: ")
        sys.stderr.flush()
        words = sys.stdin.readline()
        if not words:
            return list(asked.get("defaults") or ())
        try:
            return [options[int(word) - 1] for word in words.split(",")]
        except (ValueError, IndexError):
            sys.stderr.write(f"Type a number from 1 to {len(options)}.\n")
