"""The execution API over HTTP: every route refuses the wrong token, a try that was ended, and malformed input (4xx, never 5xx)."""

from __future__ import annotations

import dataclasses
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
from django.conf import settings
from django.db import OperationalError, transaction

from apps.access.models import Connection, Variable
from apps.runs import logs, sql, wake
from apps.runs.actions import clearing, marking
from apps.runs.execution import asgi, exchange, tokens
from apps.runs.models import Process, Run, TaskInstance, Try, XCom
from apps.runs.tests import support
from apps.runs.tests.support import ACTOR, Worker, woken  # noqa: F401
from trackside.core.messages import FinishReport, TryUpdate

pytestmark = pytest.mark.django_db

WORKER_ROUTES = {"/logs", "/goodbye"}
START = "/tries/{try_id}/start"
PATHS = sorted((method, re.sub(r"\(\?P<(\w+)>\[\^/\]\+\)", r"{\1}", pattern.pattern)) for method, pattern, _ in asgi.ROUTES)
"""Generated from the router: a new route is tested from its first day."""
TRY_ROUTES = [(m, p) for m, p in PATHS if p not in WORKER_ROUTES and p != START]
LATE = {"/tries/{try_id}/finish"}
"""Answers 410 too, but notes that the try is gone."""


@pytest.fixture(autouse=True)
def in_this_thread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Any) -> Iterator[None]:
    """Handlers run in the test's thread and transaction; logs go to a folder of the test."""

    async def call(function: Any, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    monkeypatch.setattr(asgi, "_in_thread", call)
    settings.LOGS_FOLDER = tmp_path / "logs"
    yield


def call(
    method: str, path: str, token: str | None = None, body: Any = None, query: str = "", *, raw: bytes | None = None
) -> tuple[int, Any]:
    """One HTTP call: status and JSON."""
    payload = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
    scope = {
        "type": "http", "method": method, "path": f"/execution{path}", "query_string": query.encode(),
        "headers": [] if token is None else [(b"authorization", f"Bearer {token}".encode("latin-1"))],
    }  # fmt: skip
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": payload, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    # nothing here waits, so no event loop is needed: the handlers see the test's own connection and transaction
    with pytest.raises(StopIteration):
        asgi.application(scope, receive, send).send(None)  # type: ignore[attr-defined]
    return sent[0]["status"], orjson.loads(sent[1]["body"])


def _fill(path: str, try_id: str) -> str:
    return path.replace("{try_id}", try_id).replace("{conn_id}", "db").replace("{key}", "k").replace("{dag_id}", "orders")


@pytest.fixture
def order() -> dict[str, Any]:
    """The order of a running try, with a connection and a variable to ask for."""
    Connection.objects.create(conn_id="db", conn_type="postgres", host="h")
    Variable.objects.create(key="k", value="v")
    support.run(support.dag(support.chain("a", "b")), day=2)
    worker = Worker()
    found = worker.take()["a"]
    found["worker_id"] = worker.id
    return found


def _rows() -> list[Any]:
    """All that a call could change."""
    tables = ("runs_run", "runs_taskinstance", "runs_xcom", "runs_process", "runs_event", "access_variable", "access_connection")
    found = [sorted(map(str, sql.rows(f"SELECT to_jsonb(t) FROM {t} t"))) for t in tables]
    return [*found, sorted(map(str, sql.rows("SELECT id, state, token_hash, log_size, heartbeat_at FROM runs_try")))]


# --- who may ask ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("method", "path"), [*PATHS, ("POST", "/exchange")])
def test_without_a_token_nothing_is_answered(order: dict[str, Any], method: str, path: str) -> None:
    before = _rows()
    assert call(method, _fill(path, order["try_id"]))[0] == 401
    for wrong in ("nonsense", "worker.guess", f"{uuid.uuid4()}", "é.è"):
        assert call(method, _fill(path, order["try_id"]), wrong, {})[0] in (401, 404), wrong
    assert _rows() == before


@pytest.mark.parametrize(("method", "path"), TRY_ROUTES)
def test_a_guessed_secret_opens_nothing(order: dict[str, Any], method: str, path: str) -> None:
    before = _rows()
    for guess in (f"{order['try_id']}.guess", f"{order['try_id']}.", tokens.start_token(uuid.UUID(order["try_id"]))):
        assert call(method, _fill(path, order["try_id"]), guess, {})[0] in (401, 410), guess
    assert _rows() == before


@pytest.mark.parametrize(("method", "path"), [(m, p) for m, p in TRY_ROUTES if "{try_id}" in p])
def test_the_token_of_one_try_opens_no_other(order: dict[str, Any], method: str, path: str) -> None:
    support.run(support.dag(support.chain("x"), "other"))
    other = Worker().take()["x"]
    before = _rows()
    assert call(method, _fill(path, other["try_id"]), order["token"], {})[0] == 401
    assert _rows() == before


@pytest.mark.parametrize("how", ["cleared", "marked", "lost", "succeeded"])
@pytest.mark.parametrize(("method", "path"), TRY_ROUTES)
def test_a_try_that_was_ended_is_refused_on_every_route_and_changes_nothing(
    order: dict[str, Any], method: str, path: str, how: str
) -> None:
    of = Run.objects.get()
    if how == "cleared":
        clearing.clear(clearing.ClearRequest("orders", run_pks=[of.pk], task_ids=["a"]), actor=ACTOR)
    elif how == "marked":
        marking.mark(marking.MarkRequest(of, ["a"], "failed"), actor=ACTOR)
    elif how == "lost":
        support.later(seconds=3600)
        support.tick()
    else:
        call("POST", f"/tries/{order['try_id']}/finish", order["token"], {"outcome": "success"})
        if path in ("/tries/{try_id}/finish", "/tries/{try_id}/logs"):
            return  # a repeated report is accepted, the last lines of the log may come after it: tests of their own
    before = _rows()
    body = {"value": "x", "key": "k", "outcome": "success", "offset": 0, "text": "late\n", "dag_id": "orders"}
    status, answer = call(method, _fill(path, order["try_id"]), order["token"], body)
    assert status == 410, answer
    if path not in LATE or how == "lost":
        assert _rows() == before
    assert not logs.path_of(order["try_id"]).exists()
    state = TaskInstance.objects.get(run=of, task_id="a").state
    assert state == {"cleared": "none" if path in LATE else "restarting", "marked": "failed", "lost": "queued", "succeeded": "success"}[
        how
    ] or (path in LATE and state in ("none", "queued", "scheduled"))


def test_every_route_answers_the_running_try(order: dict[str, Any]) -> None:
    bodies: dict[str, Any] = {"/xcoms": {"key": "k", "value": 1}, "/runs": {"dag_id": "orders"}, "/variables/{key}": {"value": "new"}}
    bodies["/state/task"] = bodies["/state/asset"] = {"value": 1}
    for method, path in TRY_ROUTES:
        if path in LATE:
            continue
        query = "name=orders" if path == "/asset-events" else "name=orders&key=k" if path.startswith("/state/") else ""
        status, answer = call(method, _fill(path, order["try_id"]), order["token"], bodies.get(path, {}), query)
        may_lack = path.startswith("/state/") or path.endswith("/files") or (method == "GET" and path == "/variables/{key}")
        absent = status == 404 and may_lack
        assert status == 200 or absent, (method, path, answer)


# --- malformed input --------------------------------------------------------------------------------------------------------
DEEP: Any = []
for _ in range(400):
    DEEP = [DEEP]
ODD: list[Any] = [
    DEEP,
    "", "text", "nul\x00", -1, 2**40, 1.5, True, [], [1], ["x"], [{}], {}, {"a": 1}, None, "2026-13-45", "2026-01-01", "9" * 400,
    [[[]]], {"try_id": 5}, [{"try_id": None}], "💥", 2**70,
]  # fmt: skip
FIELDS: dict[str, list[str]] = {
    "/tries/{try_id}/finish": [f.name for f in dataclasses.fields(FinishReport)],
    "/tries/{try_id}/update": [*(f.name for f in dataclasses.fields(TryUpdate)), "unixname"],
    "/tries/{try_id}/logs": ["offset", "text", "end"],
    START: ["hostname"],
    "/logs": ["worker_id", "chunks"],
    "/goodbye": ["worker_id"],
    "/xcoms": ["key", "value", "length"],
    "/runs": ["dag_id", "run_id", "logical_date", "conf", "note", "reset"],
    "/variables/{key}": ["value", "description"],
}


def _is_fine(status: int) -> bool:
    return 200 <= status < 500


@pytest.mark.parametrize(("method", "path"), [(m, p) for m, p in PATHS if m != "GET"])
def test_malformed_bodies_are_never_an_error_of_the_server(order: dict[str, Any], method: str, path: str) -> None:
    token = settings.WORKER_TOKEN if path in WORKER_ROUTES else order["token"]
    if path == START:
        token = tokens.start_token(uuid.UUID(order["try_id"]))
    base = {"worker_id": order["worker_id"], "dag_id": "orders", "key": "k", "chunks": [{"try_id": order["try_id"]}]}
    for raw in (b"{", b"[]", b"1", b'"x"', b"\xff\xfe"):
        status, answer = call(method, _fill(path, order["try_id"]), token, raw=raw)
        assert 400 <= status < 500, (raw, answer)
    for field in FIELDS.get(path, ["any"]):
        for value in ODD:
            point = transaction.savepoint()
            status, answer = call(method, _fill(path, order["try_id"]), token, base | {field: value})
            assert _is_fine(status), (field, value, answer)
            transaction.savepoint_rollback(point)  # each of them on a try that still runs


@pytest.mark.parametrize(("method", "path"), [(m, p) for m, p in TRY_ROUTES if m == "GET"])
def test_odd_query_parameters_are_never_an_error_of_the_server(order: dict[str, Any], method: str, path: str) -> None:
    names = ("dag_id", "run_id", "task_id", "key", "map_index", "include_prior_dates", "logical_date", "state", "states", "logical_dates",
             "run_ids", "task_ids", "task_group_id", "prefix")  # fmt: skip
    for name in names:
        for value in (
            "",
            "x",
            "-1",
            "99999999999999999999",
            "%00",
            "%FF",
            "[",
            "[1,{}]",
            "2026-01-01",
            "2026-01-01T00:00:00Z,x",
            "x" * 5000,
        ):
            status, answer = call(method, _fill(path, order["try_id"]), order["token"], query=f"{name}={value}")
            assert _is_fine(status), (name, value, answer)
    for odd in ("/connections/%00".replace("%00", "\x00"), "/variables/" + "x" * 5000, "/dags/💥", "/tries/x/start", "/nothing", "/"):
        assert call("GET", odd, order["token"])[0] in (404, 422)


def test_malformed_exchanges_are_refused_and_good_parts_of_odd_ones_are_served(order: dict[str, Any]) -> None:
    good = {"worker_id": order["worker_id"], "slots": 4, "free": 1, "running": [order["try_id"]], "queues": ["default"]}
    fields = (
        "worker_id",
        "epoch",
        "name",
        "hostname",
        "pid",
        "slots",
        "queues",
        "version",
        "free",
        "running",
        "finished",
        "updates",
        "wait_s",
    )
    for field in fields:
        for value in ODD:
            if field == "wait_s" and isinstance(value, int | float) and value > 0:
                continue  # parks
            status, answer = call("POST", "/exchange", settings.WORKER_TOKEN, good | {field: value})
            assert status in (200, 422), (field, value, answer)
    assert call("POST", "/exchange", settings.WORKER_TOKEN, {})[0] == 422
    assert call("GET", "/exchange", settings.WORKER_TOKEN)[0] == 405
    assert support.states(Run.objects.get())["a"] == "running"


def test_a_body_over_the_limit_is_refused(order: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "MAX_BODY", 100)
    assert call("POST", "/xcoms", order["token"], {"key": "k", "value": "x" * 200})[0] == 413


def test_a_database_that_is_away_is_a_503(order: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: Any, **kwargs: Any) -> Any:
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr(exchange, "serve", away)
    assert call("POST", "/exchange", settings.WORKER_TOKEN, {"worker_id": order["worker_id"]})[0] == 503


# --- the other door -----------------------------------------------------------------------------------------------------------
def test_a_runner_of_its_own_starts_beats_and_finishes_its_try() -> None:
    of = support.run(support.dag(support.chain("a")))
    try_id = str(support.ti(of, "a").try_id)
    start_token = tokens.start_token(uuid.UUID(try_id))
    status, order = call("POST", f"/tries/{try_id}/start", start_token, {"hostname": "pod"})
    assert (status, order["task_id"], support.states(of)) == (200, "a", {"a": "running"})
    assert call("POST", f"/tries/{try_id}/start", start_token, {})[0] == 409, "the start token is spent"
    assert call("POST", f"/tries/{try_id}/heartbeat", order["token"], {})[1] == {"lease_s": settings.LEASE}
    assert call("POST", f"/tries/{try_id}/update", order["token"], {"pid": 77})[0] == 200
    assert support.ti(of, "a").pid == 77
    assert call("POST", f"/tries/{try_id}/finish", order["token"], {"outcome": "success"})[0] == 200
    assert call("POST", f"/tries/{try_id}/finish", order["token"], {"outcome": "failed"})[0] == 200
    assert (support.states(of), support.state(of)) == ({"a": "success"}, "success")


def test_a_claim_whose_answer_was_lost_is_repeated_by_the_runner_that_made_it_and_by_no_other() -> None:
    of = support.run(support.dag(support.chain("a")))
    try_id = str(support.ti(of, "a").try_id)
    start, mine = tokens.start_token(uuid.UUID(try_id)), {"secret": "s" * 40}
    first = call("POST", f"/tries/{try_id}/start", start, mine)
    assert call("POST", f"/tries/{try_id}/start", start, mine) == first
    assert first[1]["token"] == f"{try_id}.{'s' * 40}"
    for other in ({"secret": "t" * 40}, {}):
        assert call("POST", f"/tries/{try_id}/start", start, other)[0] == 409
    assert call("POST", f"/tries/{try_id}/heartbeat", first[1]["token"], {})[0] == 200
    assert sql.rows("SELECT count(*) FROM runs_event WHERE verb = 'start'")[0][0] == 1
    assert call("POST", f"/tries/{try_id}/finish", first[1]["token"], {"outcome": "success"})[0] == 200
    assert call("POST", f"/tries/{try_id}/start", start, mine)[0] == 410
    for odd in ("short", "x" * 201, 7):
        assert call("POST", f"/tries/{try_id}/start", start, {"secret": odd})[0] == 422


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("table", ["runs_try", "runs_taskinstance"])
def test_a_try_that_somebody_is_just_working_on_is_asked_for_again(table: str) -> None:
    of = support.run(support.dag(support.chain("a")))
    ti = support.ti(of, "a")
    start = tokens.start_token(ti.try_id)
    with psycopg.connect(**wake.connection_parameters()) as other, other.transaction():  # type: ignore[arg-type]
        other.execute(f"SELECT 1 FROM {table} FOR NO KEY UPDATE")
        assert call("POST", f"/tries/{ti.try_id}/start", start, {})[0] == 503
    assert call("POST", f"/tries/{ti.try_id}/start", start, {})[0] == 200


def test_a_malformed_end_of_a_runner_of_its_own_is_a_failure_that_says_so(order: dict[str, Any]) -> None:
    assert call("POST", f"/tries/{order['try_id']}/finish", order["token"], {"outcome": "success", "duration_s": "long"})[0] == 200
    assert support.ti(Run.objects.get(), "a").state == "failed"


def test_a_cleared_runner_of_its_own_confirms_its_end_though_it_is_refused(order: dict[str, Any]) -> None:
    of = Run.objects.get()
    clearing.clear(clearing.ClearRequest("orders", run_pks=[of.pk], task_ids=["a"]), actor=ACTOR)
    assert call("POST", f"/tries/{order['try_id']}/finish", f"{order['try_id']}.guess", {"outcome": "killed"})[0] == 410
    assert support.states(of)["a"] == "restarting", "nobody else can confirm it"
    assert call("POST", f"/tries/{order['try_id']}/finish", order["token"], {"outcome": "killed"})[0] == 410
    assert support.states(of)["a"] in ("none", "scheduled", "queued") and Try.objects.get(pk=order["try_id"]).kill_confirmed


def test_a_goodbye_gives_everything_back_at_once(order: dict[str, Any]) -> None:
    assert call("POST", "/goodbye", settings.WORKER_TOKEN, {"worker_id": order["worker_id"]})[0] == 200
    assert Process.objects.get(pk=order["worker_id"]).ended_at is not None
    support.tick()
    assert support.ti(Run.objects.get(), "a").state == "queued" and support.ti(Run.objects.get(), "a").infra_failures == 1


# --- logs -----------------------------------------------------------------------------------------------------------------------
def _chunk(order: dict[str, Any], offset: int, text: str, *, end: bool = False) -> dict[str, Any]:
    body = {"worker_id": order["worker_id"], "chunks": [{"try_id": order["try_id"], "offset": offset, "text": text, "end": end}]}
    return call("POST", "/logs", settings.WORKER_TOKEN, body)[1]["settled"][0]


def test_log_chunks_may_be_repeated_and_overlap_but_leave_no_gap(order: dict[str, Any]) -> None:
    assert _chunk(order, 0, "one\n") == {"try_id": order["try_id"], "status": 200, "size": 4}
    assert _chunk(order, 0, "one\n")["size"] == 4
    assert _chunk(order, 9, "three\n") == {"try_id": order["try_id"], "status": 409, "size": 4}, "a part is missing: go on from 4"
    assert _chunk(order, 0, "one\ntwö\n")["size"] == 9
    assert _chunk(order, 4, "twö\n")["status"] == 200
    assert logs.read_bytes(order["try_id"]) == "one\ntwö\n".encode()
    assert not Try.objects.get(pk=order["try_id"]).log_ended
    _chunk(order, 9, "", end=True)
    row = Try.objects.get(pk=order["try_id"])
    assert (row.log_ended, row.log_size, logs.read(row)[2]) == (True, 9, True)


def test_logs_of_tries_of_another_worker_are_refused(order: dict[str, Any]) -> None:
    body = {"worker_id": str(uuid.uuid4()), "chunks": [{"try_id": order["try_id"], "offset": 0, "text": "x"}]}
    assert call("POST", "/logs", settings.WORKER_TOKEN, body)[1]["settled"][0]["status"] == 410
    assert not logs.path_of(order["try_id"]).exists()


def test_the_last_lines_of_a_log_may_come_after_the_end_of_the_try(order: dict[str, Any]) -> None:
    call("POST", f"/tries/{order['try_id']}/finish", order["token"], {"outcome": "success"})
    assert call("POST", f"/tries/{order['try_id']}/logs", order["token"], {"offset": 0, "text": "bye\n", "end": True})[0] == 200
    assert logs.read_bytes(order["try_id"]) == b"bye\n"


# --- what task code asks ----------------------------------------------------------------------------------------------------------
def test_xcoms_of_the_own_task_are_pushed_read_and_deleted(order: dict[str, Any]) -> None:
    assert call("POST", "/xcoms", order["token"], {"key": "k", "value": [1, 2], "length": 2})[0] == 200
    assert XCom.objects.get().task_id == "a"
    (found,) = call("GET", "/xcoms", order["token"], query="task_id=a&key=k")[1]["xcoms"]
    assert (found["value"], found["length"], found["map_index"]) == ([1, 2], 2, -1)
    assert call("DELETE", "/xcoms/k", order["token"])[1] == {"deleted": 1}


def test_a_triggered_run_conflicts_unless_it_may_be_reset(order: dict[str, Any]) -> None:
    support.dag(support.chain("x"), "other")
    body = {"dag_id": "other", "run_id": "mine", "conf": {"n": 1}}
    assert call("POST", "/runs", order["token"], body)[1] == {"dag_id": "other", "run_id": "mine", "state": "queued"}
    assert call("POST", "/runs", order["token"], body)[0] == 409
    assert call("POST", "/runs", order["token"], body | {"reset": True})[0] == 200
    assert call("POST", "/runs", order["token"], {"dag_id": "nobody"})[0] == 404
    assert call("GET", "/runs/state", order["token"], query="dag_id=other&run_id=mine")[1] == {"state": "queued"}
    assert call("GET", "/runs/count", order["token"], query="dag_id=other")[1] == {"count": 1}
