"""Lines for machines: one object each, with the ids of what it is about, whoever logs."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
from contextvars import copy_context

import pytest

from trackside.core import logline


@pytest.fixture
def lines():  # type: ignore[no-untyped-def]
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logline.formatter("json"))
    logger = logging.getLogger("trackside.test_logline")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield logger, lambda: [json.loads(line) for line in out.getvalue().splitlines()]
    logger.removeHandler(handler)


def test_a_line_is_an_object_with_the_ids_of_its_context_and_its_own(lines) -> None:  # type: ignore[no-untyped-def]
    logger, said = lines
    with logline.about(request_id="r1", try_id=None):
        logger.info("two\nlines of %s", "text", extra={"try_id": "t1"})
        context = copy_context()
        thread = threading.Thread(target=context.run, args=(logger.warning, "from a thread"))
        thread.start()
        thread.join()
    logger.info("afterwards")
    first, second, third = said()
    assert first["message"] == "two\nlines of text" and (first["request_id"], first["try_id"]) == ("r1", "t1")
    assert second["request_id"] == "r1" and second["level"] == "warning" and "request_id" not in third
    assert {"at", "level", "logger", "process", "pid", "message"} <= set(third)


def test_an_exception_is_part_of_its_line(lines) -> None:  # type: ignore[no-untyped-def]
    logger, said = lines
    try:
        raise ValueError("no such thing")
    except ValueError:
        logger.exception("it failed")
    (line,) = said()
    assert "ValueError: no such thing" in line["exception"] and line["level"] == "error"


def test_ids_from_outside_are_short_and_harmless() -> None:
    assert all(map(logline.is_acceptable, ("a", "deploy-42", "0190b7d2-7c1e", "trace:1/2", "x" * 128)))
    assert not any(map(logline.is_acceptable, ("", "x" * 129, "a b", 'a"b', "a\r\nSet-Cookie: x", "-a", "é")))


def test_a_wrong_format_stops_the_start_with_one_line() -> None:
    code = "from trackside.core import logline; logline.configure('worker', {'TRACKSIDE_LOG_FORMAT': 'xml'})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "TRACKSIDE_LOG_FORMAT='xml' must be one of text, json." in done.stderr
