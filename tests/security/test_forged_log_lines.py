"""S22: what users choose makes no lines in the logs of processes and tasks: an id with a line break or a colour is one record."""

from __future__ import annotations

import io
import json
import logging
import re
import uuid
from typing import Any

import pytest
from django.test import Client

from apps.access.tests.resthelp import Api
from apps.runs import logs
from apps.runs.tests.restworld import make_dag, make_run
from apps.ui.tests import factories
from trackside.core import logline

FORGED = [
    "x\r\n2026-01-01 00:00:00,000 CRITICAL trackside: forged", 'x\n{"level": "critical"}',
    "\x1b[2J\x1b[31mred", "a\u202egnp.exe", "\u2066a\u2069",
    "a\u2028b", "a\u2029b", "a\x85b", "a\x0bb\x0cc", "nul\x00", "\x9b31m", "bell\x07",
]  # fmt: skip
STEERING = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def written(kind: str, log: Any) -> str:
    """What a handler with the site's formatter writes."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logline.formatter(kind))
    logger = logging.Logger("trackside.test")
    logger.addHandler(handler)
    log(logger)
    return out.getvalue()


@pytest.mark.parametrize("kind", logline.FORMATS)
@pytest.mark.parametrize("text", FORGED)
def test_s22_a_message_is_one_line_whatever_it_quotes(kind, text):
    line = written(kind, lambda logger: logger.warning("DAG %s is odd", text, extra={"dag_id": text}))
    assert len(line.splitlines()) == 1 and line.endswith("\n")
    assert not STEERING.search(line[:-1])
    if kind == "json":
        assert json.loads(line)["message"] == f"DAG {text} is odd"


def test_s22_a_traceback_keeps_its_lines_for_people_and_is_one_record_for_machines():
    def fail(logger: Any) -> None:
        try:
            raise ValueError("x\n2026-01-01 00:00:00,000 CRITICAL forged")
        except ValueError:
            logger.exception("It failed.")

    assert len(written("text", fail).splitlines()) > 3
    assert len(written("json", fail).splitlines()) == 1


def test_s22_ids_from_outside_are_taken_over_only_when_they_can_forge_nothing():
    assert logline.is_acceptable("req-1")
    assert not any(logline.is_acceptable(text) for text in FORGED)


@pytest.mark.django_db
def test_s22_calls_with_forged_names_leave_one_line_each(caplog):
    api = Api()
    make_run(make_dag("d"), "r")
    for text in FORGED:
        for method, path, body in (
            ("POST", "/dags/d/dagRuns", {"dag_run_id": text, "logical_date": None}),
            ("POST", "/variables", {"key": text, "value": "1"}),
            ("POST", "/pools", {"name": text, "slots": 1}),
        ):
            assert api(method, path, body)[0] < 500
        Client().post("/login", {"username": text, "password": "x"})
    handler = logline.formatter("text")
    for record in caplog.records:
        record.exc_info = record.exc_text = None
        assert len(handler.format(record).splitlines()) == 1


@pytest.mark.django_db
def test_s22_output_of_a_task_is_one_record_per_line_and_marked_as_its_own(settings, tmp_path):
    settings.LOGS_FOLDER = tmp_path
    number = uuid.uuid4()
    record = {"level": "info", "event": FORGED[0] + FORGED[5], "src": "stdout", "logger": "task.stdout"}
    raw = b'{"level": "critical", "event": "whole", \xff\n' + json.dumps(record).encode() + b"\n"
    logs.append(number, 0, raw)
    events = [logs.parse(line) for line in logs.read_bytes(number).split(b"\n") if line]
    assert [e["src"] for e in events] == ["stdout", "stdout"] and events[1]["event"] == record["event"]
    run = factories.run(factories.dag("d"))
    ti = run.task_instances.first()
    ti.try_id = number
    ti.save(update_fields=["try_id"])
    factories.a_try(ti)
    status, answer = Api()("GET", f"/dags/d/dagRuns/{run.run_id}/taskInstances/{ti.task_id}/logs/1", headers={"Accept": "application/json"})
    assert status == 200 and len([e for e in answer["content"] if "forged" in str(e)]) == 1
