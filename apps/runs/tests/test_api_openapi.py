"""The published description: valid, complete, and with the operation ids clients of Airflow are generated from."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from apps.access.rest.operations import REGISTRY

pytestmark = pytest.mark.django_db


def test_every_operation_is_described_under_its_own_id():
    answer = Client().get("/openapi.json")
    assert answer.status_code == 200
    schema = json.loads(answer.content)
    assert schema["openapi"].startswith("3.1")
    described = {
        (method.upper(), path): operation["operationId"]
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    }
    expected = {(op.method, "/api/v2" + op.path.replace(":path", "")): op.id for op in REGISTRY}
    assert described == expected
    assert len(set(described.values())) == len(described)


def test_parameters_bodies_and_answers_are_described():
    schema = json.loads(Client().get("/openapi.json").content)
    listing = schema["paths"]["/api/v2/dags/{dag_id}/dagRuns"]["get"]
    names = {p["name"] for p in listing["parameters"]}
    assert {"dag_id", "limit", "offset", "order_by", "cursor", "run_id_pattern", "logical_date_gte", "state"} <= names
    answer = listing["responses"]["200"]["content"]["application/json"]["schema"]
    assert set(answer["properties"]) == {"dag_runs", "total_entries", "total_entries_limit", "next_cursor", "previous_cursor"}
    body = schema["paths"]["/api/v2/pools"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"name", "slots"} <= set(body["properties"])
    assert schema["paths"]["/api/v2/version"]["get"].get("security", []) in ([], [{}])
