"""One line of a process's log: for people, or as JSON (`TRACKSIDE_LOG_FORMAT=json`), with the ids of what it is about.

For every process: the site's LOGGING, workers and executors use `formatter`. Whoever begins to work on a request or a try says
so with `about`; every line written in that context then carries `request_id` or `try_id`, so that one id leads through the
logs of all processes.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error", "critical")
IDS = ("request_id", "try_id", "run_id", "dag_id", "task_id")
"""Fields that a record may bring itself (`extra=`) or inherit from `about`."""
_ids: ContextVar[dict[str, str]] = ContextVar("trackside_log_ids", default={})  # noqa: B039 - never changed in place
_process = "trackside"
_always: dict[str, str] = {}
_FORGING = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
"""Characters that end a line, steer a terminal or turn text round; a tab is none of them."""
_GIVEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+/=@-]{0,127}")


class JsonFormatter(logging.Formatter):
    """`{"at", "level", "logger", "process", "pid", "message", …ids, "exception"}`, one object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(), "logger": record.name, "process": _process, "pid": record.process,
            "message": record.getMessage(), **_always, **_ids.get(),
        }  # fmt: skip
        line |= {name: str(value) for name in IDS if (value := record.__dict__.get(name)) is not None}
        line |= record.__dict__.get("fields") or {}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        elif record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return _FORGING.sub(lambda m: f"\\u{ord(m[0]):04x}", json.dumps(line, ensure_ascii=False, default=str))


class TextFormatter(logging.Formatter):
    """A line for people. What a message quotes (names, ids, addresses) may not begin a line of its own, colour it or turn it
    round; tracebacks keep their lines.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line, with control characters as escapes."""
        record.message = _FORGING.sub(_escaped, record.message)
        return super().formatMessage(record)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def formatter(kind: str) -> logging.Formatter:
    """The formatter of a value of TRACKSIDE_LOG_FORMAT; ValueError for others."""
    if kind not in FORMATS:
        raise ValueError(f"TRACKSIDE_LOG_FORMAT={kind!r} must be one of {', '.join(FORMATS)}.")
    return JsonFormatter() if kind == "json" else TextFormatter(TEXT)


def configure(process: str, environment: Mapping[str, str], **ids: str) -> None:
    """The root logger of a process without Django, to standard error. `ids`: carried by all its lines. A wrong value ends the
    process with one line."""
    handler = logging.StreamHandler()
    try:
        wanted = level(environment)
        handler.setFormatter(formatter(environment.get("TRACKSIDE_LOG_FORMAT", "").strip().lower() or "text"))
    except ValueError as error:
        raise SystemExit(str(error)) from None
    logging.basicConfig(level=wanted, handlers=[handler])
    name_process(process)
    _always.update(ids)


def level(environment: Mapping[str, str]) -> str:
    """TRACKSIDE_LOG_LEVEL, or what the file that TRACKSIDE_LOG_LEVEL_FILE names says; ValueError for no level."""
    text = environment.get("TRACKSIDE_LOG_LEVEL", "").strip()
    if not text and (path := environment.get("TRACKSIDE_LOG_LEVEL_FILE")):
        try:
            text = Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ValueError(f"TRACKSIDE_LOG_LEVEL_FILE={path}: {error.strerror}. Point it at a readable file.") from error
    if (text or "info").lower() not in LEVELS:
        raise ValueError(f"TRACKSIDE_LOG_LEVEL={text!r} must be one of {', '.join(LEVELS)}.")
    return (text or "info").upper()


def is_json() -> bool:
    """Whether lines are for machines, which want one for every step of a try."""
    return any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers)


def step(logger: logging.Logger, text: str, **ids: object) -> None:
    """A line about a step of a try, if lines are for machines; people have the log of the try and the pages for that."""
    if is_json():
        logger.info(text, extra={name: value for name, value in ids.items() if value is not None})


def name_process(name: str) -> None:
    """What this process is called in its lines (web, scheduler, worker …)."""
    global _process
    _process = name


@contextmanager
def about(**ids: str | None) -> Iterator[None]:
    """Lines of this context (thread, task and what they call) carry these ids too."""
    token = _ids.set(_ids.get() | {name: value for name, value in ids.items() if value})
    try:
        yield
    finally:
        _ids.reset(token)


def current(name: str) -> str | None:
    """An id of this context."""
    return _ids.get().get(name)


def is_acceptable(request_id: str) -> bool:
    """Whether an id from outside may be taken over: short, and nothing that could forge lines or headers."""
    return _GIVEN.fullmatch(request_id) is not None
