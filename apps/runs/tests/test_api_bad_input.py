"""What callers send by mistake or on purpose: always a clear 4xx, never a 5xx, and nothing of it is stored."""

from __future__ import annotations

import json

import pytest
from django.conf import settings
from django.test import Client

from apps.access.rest.operations import REGISTRY
from apps.access.tests.resthelp import Api
from apps.runs.models import Pool, Run
from apps.runs.tests.restworld import make_dag, make_run
from apps.ui.api import urls

pytestmark = pytest.mark.django_db
RUNS = "/dags/d/dagRuns"


def trigger(conf: str) -> str:
    return '{"logical_date": null, "conf": ' + conf + "}"


@pytest.mark.parametrize(
    "raw",
    [
        trigger('{"a": "\\u0000"}'),
        trigger('{"\\u0000": 1}'),
        trigger('{"a": "\\ud800"}'),
        trigger('{"a": NaN}'),
        trigger('{"a": Infinity}'),
        trigger('{"a": 1e999}'),
        trigger('{"a": 1' + "0" * 400 + "}"),
        trigger('{"a": ' + "[" * 100 + "]" * 100 + "}"),
        trigger('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"),
        trigger('{"a": 1, "a": 2}'),
        '{"logical_date": "9999-99-99T00:00:00Z"}',
        '{"logical_date": null, "dag_run_id": "a/b"}',
        '{"logical_date": null, "dag_run_id": "../../etc/passwd"}',
        '{"logical_date": null, "note": "' + "x" * 1001 + '"}',
        b'{"logical_date": "\xff"}',
        "not json",
        "[1]",
        "",
    ],
)
def test_a_trigger_that_cannot_be_stored_is_refused(raw):
    make_dag("d")
    status, answer = Api("User")("POST", RUNS, raw)
    assert status in (400, 422), answer
    assert not Run.objects.exists()


def test_what_postgres_can_hold_is_taken_as_it_is():
    make_dag("d")
    conf = {"é": "😀 \\u0000 is text", "big": 2**63, "deep": json.loads("[" * 60 + "]" * 60), "f": 1e300}
    status, run = Api("User")("POST", RUNS, {"logical_date": None, "conf": conf})
    assert (status, run["conf"]) == (200, conf)


def test_a_body_that_is_too_large_is_413_before_it_is_parsed():
    make_dag("d")
    body = trigger('"' + "x" * settings.MAX_BODY_BYTES + '"')
    assert Api("User")("POST", RUNS, body)[0] == 413


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_another_media_type_is_422_at_the_body(media):
    status, answer = Api("Op")("POST", "/pools", '{"name": "p", "slots": 1}', content_type=media)
    assert (status, answer["detail"][0]["loc"]) == (422, ["body"])
    assert Api("Op")("POST", "/pools", '{"name": "p", "slots": 1}', content_type="application/vnd.x+json")[0] == 201


@pytest.mark.parametrize("slots", [2**31, 2**70, -2, "1.5", True, None, [1]])
def test_numbers_out_of_range_are_refused(slots):
    status, answer = Api("Op")("POST", "/pools", {"name": "p", "slots": slots})
    if slots is True:  # JSON booleans count as numbers, as in Airflow
        assert status == 201
        return
    assert status == 422, answer
    assert not Pool.objects.filter(name="p").exists()


def test_unknown_paths_and_methods_have_airflows_shapes():
    api = Api("Viewer")
    for path in ("/nope", "/dags/d/nope", "/dags/", "/dagRuns", "/config/section/core"):
        status, answer = api.get(path)
        assert (status, set(answer)) == (404, {"error"})
        assert api("POST", path, {})[0] == 405
    for method, path in (("POST", "/dags"), ("PUT", "/pools/p"), ("DELETE", "/eventLogs/1"), ("HEAD", "/dags"), ("OPTIONS", "/dags")):
        assert api.call(method, path).status_code == 405
    assert Client().put("/api/v2/pools/p").status_code == 405


def test_a_literal_path_leaves_other_methods_to_the_one_with_a_parameter():
    run = make_run(make_dag("d"), "list")
    assert Api("Viewer").get(f"{RUNS}/list")[1]["dag_run_id"] == run.run_id


_ODD = ["%00", "..%2f..%2fetc", "a" * 3000, "~", "%ff%fe", "-1"]


@pytest.mark.parametrize("odd", _ODD)
def test_no_operation_breaks_on_odd_ids(odd):
    """Every operation with parameters, each parameter replaced by the odd text; bodies are empty objects."""
    assert urls.urlpatterns
    make_run(make_dag("d"), "r")
    api = Api()
    for operation in REGISTRY:
        if "{" not in operation.path or operation.id in ("wait_dag_run_until_finished",):
            continue
        path = operation.path.replace(":path", "")
        for name in [p.split("}")[0] for p in path.split("{")[1:]]:
            path = path.replace("{" + name + "}", odd)
        body = {} if operation.body is not None else None
        response = api.call(operation.method, path, body)
        assert response.status_code < 500, (operation.id, response.content[:300])


@pytest.mark.parametrize("text", ["\x00", "2024-01-01", "99999999999999999999999", "\\", "|"])
def test_no_list_breaks_on_odd_filters(text):
    """Every query parameter of every GET operation, one after the other."""
    assert urls.urlpatterns
    make_run(make_dag("d"), "r")
    api = Api()
    for operation in REGISTRY:
        if operation.method != "GET" or operation.id == "wait_dag_run_until_finished":
            continue
        path = operation.path.replace(":path", "").replace("{dag_id}", "d").replace("{dag_run_id}", "r")
        path = path.replace("{task_id}", "first").replace("{", "").replace("}", "")
        for param in operation.query:
            response = api.call("GET", path, query={param.name: text})
            assert response.status_code < 500, (operation.id, param.name, response.content[:300])
