"""The published description: valid, complete, with the operation ids clients of Airflow are generated from, and no secrets."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import jsonschema
import pytest
from django.conf import settings
from django.test import Client

from apps.access.rest.docs import described
from apps.access.rest.examples import example_of
from apps.access.rest.openapi import path_of
from apps.access.rest.operations import REGISTRY

pytestmark = pytest.mark.django_db
RECORDED = Path(os.environ.get("TRACKSIDE_CONFORMANCE", settings.ROOT.parent / "shared" / "conformance")) / "rest"
recorded = pytest.mark.skipif(not RECORDED.exists(), reason=f"no recorded operations in {RECORDED}; see TRACKSIDE_CONFORMANCE")


@pytest.fixture(scope="module")
def doc():
    import apps.ui.api.urls  # noqa: F401  (registers the operations)

    return described()


def operations(doc):
    for path, methods in doc["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def schema_of(doc, schema):
    """With the components it may refer to."""
    return {**schema, "components": doc["components"]}


def test_every_operation_is_described_under_its_own_id(doc):
    answer = Client().get("/openapi.json")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")
    assert json.loads(answer.content) == json.loads(json.dumps(doc))
    assert doc["openapi"].startswith("3.1")
    found = {key: operation["operationId"] for key, operation in operations(doc)}
    assert found == {f"{op.method} {path_of(op)}": op.id for op in REGISTRY}
    assert len(set(found.values())) == len(found)
    assert Client().get("/openapi.json", headers={"If-None-Match": answer["ETag"]}).status_code == 304


def test_every_operation_has_words_and_statuses(doc):
    for key, operation in operations(doc):
        assert operation["summary"], key
        assert operation["tags"][0] in {t["name"] for t in doc["tags"]}, key
        assert all(t["description"] for t in doc["tags"])
        assert any(s.startswith(("2", "3", "4")) for s in operation["responses"]), key
        if "security" not in operation:
            assert {"401", "403"} <= operation["responses"].keys(), key
        assert {p["name"] for p in operation["parameters"] if p["in"] == "path"} == set(re.findall(r"{(\w+)}", key)), key


def test_all_schemas_are_json_schema_and_all_examples_fit_theirs(doc):
    for name, schema in doc["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema), name
    checked = 0
    for key, operation in operations(doc):
        contents = [r.get("content", {}) for r in operation["responses"].values()]
        for content in [*contents, operation.get("requestBody", {}).get("content", {})]:
            for media in content.values():
                jsonschema.Draft202012Validator.check_schema(media["schema"])
                if "example" in media:
                    checked += 1
                    errors = list(jsonschema.Draft202012Validator(schema_of(doc, media["schema"])).iter_errors(media["example"]))
                    assert not errors, (key, errors[0].message)
    assert checked > 100


def test_examples_hold_no_secrets():
    schema = {"type": "object", "properties": {n: {"type": "string"} for n in ("password", "access_token")}}
    assert example_of(schema) == {"password": "***", "access_token": "<token>"}


def test_parameters_bodies_and_answers_are_described(doc):
    listing = doc["paths"]["/api/v2/dags/{dag_id}/dagRuns"]["get"]
    names = {p["name"] for p in listing["parameters"]}
    assert {"dag_id", "limit", "offset", "order_by", "cursor", "run_id_pattern", "logical_date_gte", "state"} <= names
    answer = listing["responses"]["200"]["content"]["application/json"]["schema"]
    assert set(answer["properties"]) == {"dag_runs", "total_entries", "total_entries_limit", "next_cursor", "previous_cursor"}
    body = doc["paths"]["/api/v2/pools"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"] == {"$ref": "#/components/schemas/PoolBody"}
    assert body["example"] == {"name": "sales", "slots": 8}
    assert doc["paths"]["/api/v2/version"]["get"]["security"] == []


@recorded
def test_all_recorded_operations_of_airflow_are_described(doc):
    listed = json.loads((RECORDED / "operations.json").read_text())
    found = {(key.partition(" ")[0], _shape(key.partition(" ")[2])): op["operationId"] for key, op in operations(doc)}
    missing = [op[2] for op in listed if found.get((op[0], _shape("/api/v2" + op[1]))) != op[2]]
    assert set(missing) <= {"clear_dag_run_partitions"}


def _shape(path):
    return re.sub(r"{\w+}", "{}", path)


@recorded
def test_recorded_answers_have_the_described_fields(doc):
    templates = [(re.compile(re.sub(r"{\w+}", "[^/]+", path) + r"\Z"), path) for path in sorted(doc["paths"], key=_literal_first)]
    checked, unknown = set(), []
    for file in (RECORDED / "cases" / "visible").glob("*.json"):
        for case in json.loads(file.read_text())["cases"]:
            for answer in case["expect"]:
                call = case["calls"][answer["n"]]
                body = answer.get("body")
                if "pick" in call or not isinstance(body, dict) or "call" not in call or answer.get("status") != 200:
                    continue
                method, _, path = call["call"].partition(" ")
                template = next((t for pattern, t in templates if pattern.match("/api/v2" + path.partition("?")[0])), None)
                if template is None:
                    continue
                schema = doc["paths"][template][method.lower()]["responses"]["200"]["content"]["application/json"]["schema"]
                forms = [s["properties"].keys() for s in schema.get("anyOf", [schema]) if "properties" in s]
                if forms:
                    checked.add(f"{method} {template}")
                    unknown += [] if any(body.keys() <= form for form in forms) else [(f"{method} {template}", sorted(body))]
    assert not unknown
    assert len(checked) > 40


def _literal_first(path):
    return [part.startswith("{") for part in path.split("/")]


def test_the_pages_show_families_operations_and_what_is_searched():
    page = Client().get("/docs")
    assert page.status_code == 200
    assert "unsafe-inline" not in page.headers["Content-Security-Policy"]
    text = page.content.decode()
    assert "/api/v2/dags/{dag_id}/dagRuns" in text
    assert not re.search(r"<script|<style|style=|https?://(?!www\.w3\.org)", text)
    whole = Client().get("/docs", {"tag": "Pools"}).content.decode()
    assert 'id="patch_pool"' in whole and "include_deferred" in whole
    assert 'id="patch_pool"' in Client().get("/docs", {"q": "patch_pool"}).content.decode()
    assert "No operation has “&lt;b&gt;”" in Client().get("/docs", {"q": "<b>"}).content.decode()
