"""What came out of one file, and the sentences for files that ended their process instead of returning.

For `client` (makes them) and the catalogue (stores them).
"""

from __future__ import annotations

import hashlib
import json
import re
import signal
from dataclasses import dataclass, field
from typing import Any

from trackside.runner.parsing.settings import ParseSettings


@dataclass(slots=True)
class ParseProblem:
    """Why (part of) a file gave no DAG."""

    message: str
    """What is wrong, where, what to write instead."""
    lineno: int | None = None
    traceback: str = ""
    dag_id: str | None = None
    """Set when only this DAG is broken."""


@dataclass(slots=True)
class ParseResult:
    """One parse of one file."""

    path: str
    dags: list[dict[str, Any]] = field(default_factory=list)
    """`DagSpec.to_dict()` of every DAG."""
    errors: list[ParseProblem] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    """{"message", "kind", "dag_id" or None, "lineno" or None}."""
    output: str = ""
    """What the file printed, at most 64 KiB."""
    duration: float = 0.0
    """Seconds."""
    hashes: dict[str, str] = field(default_factory=dict)
    """dag_id → structure hash, computed where the time does not matter."""
    sources: dict[str, str] = field(default_factory=dict)
    """File location of a DAG → its text."""
    content_hash: str = ""
    """SHA-256 of the file as it was before it was loaded; "" if it could not be read."""
    imports: list[str] = field(default_factory=list)
    """Other files of the DAG folder that were imported: when they change, this one must be parsed again."""
    planned: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    """dag_id → next run by a timetable class of the user's (None: none), all ISO:
    {"logical_date", "start", "end", "run_after"}."""


@dataclass(slots=True)
class ParseReply:
    """What the parse server said about one file, not yet unpacked: an unchanged file needs the fingerprint only."""

    path: str
    header: dict[str, Any]
    body: bytes
    settings: ParseSettings

    @property
    def fingerprint(self) -> str:
        """Equal for two parses that came out the same."""
        verdict = json.dumps([self.header.get(k) for k in ("verdict", "code")])
        return hashlib.sha256(verdict.encode() + self.body).hexdigest()

    @property
    def duration(self) -> float:
        return float(self.header.get("duration", 0.0))

    def result(self) -> ParseResult:
        """Unpack. Never raises: a result that cannot be read is a problem of the file."""
        result = ParseResult(self.path, output=self.header.get("output", ""), duration=self.duration)
        if self.header.get("verdict") != "ok":
            result.errors.append(died(self.header, self.path, self.settings))
            return result
        try:
            data = json.loads(self.body)
            result.errors = [ParseProblem(**e) for e in data.pop("errors")]
            for name, value in data.items():
                setattr(result, name, value)
        except (ValueError, TypeError, KeyError, AttributeError) as e:
            result.errors = [ParseProblem(f"The parser process sent a result that cannot be read ({e}).")]
            result.dags = []
        return result


def died(header: dict[str, Any], path: str, settings: ParseSettings) -> ParseProblem:
    """The problem of a file whose process was stopped or ended by itself."""
    output = header.get("output", "")
    line = last_line_in(output, path)
    where = f" at line {line}" if line else ""
    move = "Move slow or heavy work from the top of the file into tasks"
    code = int(header.get("code") or 0)
    match header.get("verdict"):
        case "timeout":
            limit = header.get("limit")
            more = "raise TRACKSIDE_PARSE_TIMEOUT" if limit is None else "have get_dagbag_import_timeout give this file more time"
            message = f"Parsing took longer than {limit or settings.timeout:g} s and was stopped{where}. {move}, or {more}."
        case "memory":
            message = (
                f"Parsing needed more than {settings.memory_mb} MB of memory and was stopped{where}. {move}, "
                "or raise TRACKSIDE_PARSE_MEMORY_MB."
            )
        case "processes":
            message = (
                f"Parsing started more than {settings.max_processes} processes and was stopped. "
                "Start processes in tasks, not at the top of the file."
            )
        case "result":
            message = (
                "Parsing gave more data than can be stored (128 MiB), or wrote into the parser's own pipe. "
                "Divide the file into several."
            )
        case "signal":
            message = f"The parser process died ({signal_name(code)}){where}. {_hint(code)}"
        case "exit":
            message = (
                f"The file ended the parser process with exit code {code} (os._exit or similar). "
                "Remove that call: importing the file must return."
            )
        case _:
            message = (
                "The parse server was lost twice while it parsed this file. Look at the processor's log; "
                "the file is tried again."
            )
    return ParseProblem(message, line, output)


def _hint(number: int) -> str:
    if number == signal.SIGKILL:
        return "It killed itself, or the machine ran out of memory: move heavy work from the file's top into tasks."
    if number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGABRT, signal.SIGFPE):
        return "A native library that the file imports crashed: the trace below shows where. Import it inside the task."
    return "Remove what sends this signal from the top of the file."


def signal_name(number: int) -> str:
    """"signal 9, SIGKILL"."""
    try:
        return f"signal {number}, {signal.Signals(number).name}"
    except ValueError:
        return f"signal {number}"


def last_line_in(trace: str, path: str) -> int | None:
    """The line of `path` in a trace that faulthandler wrote (innermost frame first)."""
    found = re.search(rf'File "{re.escape(path)}", line (\d+)', trace)
    return int(found[1]) if found else None
