"""S19: nobody keeps the server busy alone: requests per person and per token, bodies that are large, deep or slow to match."""

from __future__ import annotations

import json
import resource
import uuid
from ipaddress import ip_network
from typing import Any

import pytest
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.access import rates, tokens
from apps.access.models import RateBucket
from apps.access.rest.operations import REGISTRY
from apps.access.tests.resthelp import Api, person
from apps.runs.tests.restworld import make_dag, make_run
from apps.runs.tests.test_execution_routes import call as execution
from apps.runs.tests.test_execution_routes import in_this_thread  # noqa: F401

pytestmark = pytest.mark.django_db


@pytest.fixture
def limits(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Five requests a minute for a person, three for a token; nothing counted so far."""
    settings.RATE_LIMIT, settings.TOKEN_RATE_LIMIT = 5, 3
    monkeypatch.setattr(rates, "buckets", rates.Buckets())
    return settings


def statuses(api: Api, times: int) -> list[int]:
    return [api.call("GET", "/pools").status_code for _ in range(times)]


def test_s19_a_token_that_asks_too_often_hears_when_to_come_back_and_others_are_not_held_up(limits):
    someone = person("Viewer")
    script = Api(token=tokens.make_api_token(someone, "script"))
    assert statuses(script, 4) == [200, 200, 200, 429]
    answer = script.call("GET", "/pools")
    assert 1 <= int(answer["Retry-After"]) <= 20
    assert json.loads(answer.content)["detail"].startswith("Too many requests by this token. Try again in ")
    assert statuses(Api("Viewer"), 1) == [200]


def test_s19_a_person_has_one_limit_for_all_tokens_and_the_pages(limits):
    someone = person("Viewer")
    assert statuses(Api(token=tokens.make_api_token(someone, "a")), 3) == [200] * 3
    assert statuses(Api(user=someone), 2) == [200] * 2  # a signed token
    assert statuses(Api(user=someone), 1) == [429]
    client = Client()
    client.force_login(someone)
    page, data = client.get("/"), client.get("/ui/whatever")
    assert (page.status_code, data.status_code) == (429, 404)  # an address that does not exist is nobody's work
    assert "Too many requests by this person." in page.content.decode() and int(page["Retry-After"]) >= 1
    assert client.get("/admin/").status_code == 429
    assert Client().get("/login").status_code == 200


@pytest.mark.parametrize("keeps_cookies", [False, True])
def test_s19_people_of_a_trusted_proxy_have_the_same_limit_with_and_without_cookies(limits, keeps_cookies):
    limits.TRUSTED_PROXY_HEADER, limits.TRUSTED_PROXY_GROUPS_HEADER = "X-Remote-User", ""
    limits.TRUSTED_PROXY_ADDRESSES = [ip_network("127.0.0.1")]
    limits.SIGN_IN_DEFAULT_ROLE = "Viewer"
    at = limits.MIDDLEWARE.index("apps.access.rates.PageRates")
    limits.MIDDLEWARE = [*limits.MIDDLEWARE[:at], "apps.access.outside.proxy.TrustedProxyMiddleware", *limits.MIDDLEWARE[at:]]
    client = Client()

    def visit(name: str) -> int:
        if not keeps_cookies:
            client.cookies.clear()
        return client.get("/account", headers={"x-remote-user": name}).status_code

    assert [visit("paula") for _ in range(7)] == [200] * 5 + [429] * 2
    assert visit("pia") == 200


def test_s19_changes_that_were_refused_changed_nothing(limits):
    api = Api()
    statuses(api, 5)
    assert api("POST", "/pools", {"name": "p", "slots": 1})[0] == 429
    limits.RATE_LIMIT = limits.TOKEN_RATE_LIMIT = 0
    assert api.get("/pools/p")[0] == 404


def test_s19_every_operation_that_needs_credentials_is_limited_and_says_so(limits):
    api = Api()
    statuses(api, 5)
    for operation in REGISTRY:
        if operation.may != ("public", "public") and operation.base == "/api/v2":
            path = operation.path.replace("{", "").replace("}", "").replace(":path", "")
            assert api.call(operation.method, path).status_code == 429, operation.id


def test_s19_the_execution_api_has_no_limit(limits, in_this_thread):  # noqa: F811
    for _ in range(20):
        assert execution("POST", "/goodbye", limits.WORKER_TOKEN, {"worker_id": str(uuid.UUID(int=1))})[0] == 200


def test_s19_processes_agree_within_a_twentieth_each_and_light_use_costs_no_statement(django_assert_num_queries):
    processes, size = [rates.Buckets() for _ in range(4)], 1000
    with django_assert_num_queries(0):
        assert processes[0].take("user:light", size, 0.0) == 0
    through = 0
    for n in range(8 * size):
        through += processes[n % 4].take("user:1", size, 0.0) == 0
    assert size * 0.8 <= through <= size * 1.25
    assert RateBucket.objects.get(key="user:1").level <= size * 0.05
    assert min(p.take("user:1", size, 0.0) for p in processes) >= 1
    assert rates.prune() == 0


@settings(max_examples=50, deadline=None)
@given(gaps=st.lists(st.floats(0, 30), min_size=1, max_size=60), size=st.integers(1, 15))
def test_s19_a_bucket_never_lets_through_more_than_its_size_and_what_flowed_in(gaps, size):
    bucket = rates.Buckets()
    bucket._settle = lambda *_: None  # type: ignore[method-assign]  # one process, nothing to share
    at, through = 100.0, 0
    for gap in gaps:
        at += gap
        wait = bucket.take("k", size, at)
        through += wait == 0
        assert through <= size + (at - 100.0) * size / 60 + 1e-6
    refused = [bucket.take("other", size, 0.0) for _ in range(size + 1)][-1]
    assert refused >= 1 and bucket.take("other", size, float(refused)) == 0


DEEP = ["[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 10_000 + "1" + "}" * 10_000]


@pytest.mark.parametrize("conf", DEEP, ids=["open", "list", "object"])
def test_s19_deep_json_is_refused_wherever_a_body_is_read(conf):
    make_dag("d")
    api = Api()
    for method, path, body in (
        ("POST", "/dags/d/dagRuns", f'{{"logical_date": null, "conf": {conf}}}'), ("PATCH", "/pools", conf), ("POST", "/variables", conf),
        ("POST", "/auth/token", conf),
    ):  # fmt: skip
        answer = api.call(method, path, body) if path != "/auth/token" else Client().post(path, conf, content_type="application/json")
        assert 400 <= answer.status_code < 500, (path, answer.status_code)


def test_s19_a_hundred_megabytes_are_refused_unread():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    api = Api()
    for path in ("/pools", "/variables", "/dags/d/dagRuns"):
        answer = api.call("POST", path, b"{}", CONTENT_LENGTH=str(100 * 1024 * 1024))
        assert answer.status_code == 413, path
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


REDOS = ["(a+)+$", "a" * 40 + "!", "%" * 200 + "x", "_" * 300, "(.*a){25}", "\\" * 101, "%_" * 120 + "\\"]


@pytest.mark.parametrize("text", REDOS)
def test_s19_patterns_that_are_slow_elsewhere_are_text_here(text):
    run = make_run(make_dag("a" * 200), "r")
    api = Api()
    for path in ("/dags", f"/dags/{run.dag_id}/dagRuns", "/connections", "/variables", "/pools", "/eventLogs"):
        for name in ("dag_id_pattern", "run_id_pattern", "connection_id_pattern", "variable_key_pattern", "pool_name_pattern"):
            status, _ = api("GET", path, query={name: text})
            assert status in (200, 400, 422), (path, name, status)


@pytest.mark.parametrize("query", ["limit=-1", "offset=-5", "offset=99999999999999999999", "limit=1000000000", "order_by=password;drop"])
def test_s19_pages_have_a_largest_size(query):
    status, body = Api()("GET", f"/pools?{query}")
    assert status in (400, 422) or (status == 200 and len(body["pools"]) <= 1000)
