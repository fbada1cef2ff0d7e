"""S11, S12: twelve places where a secret could come out, and canaries that come out of none of them – as they are, URL-encoded, as base64
or as JSON writes them: REST, pages, logs, rendered fields, XComs, tracebacks, the trail, the API's examples, exports, sockets, error
texts and the command line. Rendered fields and tracebacks (4, 6) are in `platform/tests/test_secrets_of_tasks.py` and
`test_runner_logs.py`, where tasks run; a value that a task leaves as an XCom (5) is its own to choose and is not masked by value.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from apps.access.models import AuditEvent, Connection, Variable
from apps.access.rest.docs import described
from apps.access.rest.operations import AIRFLOW, PUBLIC, REGISTRY
from apps.access.tests.resthelp import Api
from apps.runs.models import Event
from apps.ui.tests import factories
from tests.support import hostile

pytestmark = pytest.mark.django_db
PASSWORD, EXTRA, VALUE, NESTED = "pw-canary +/ä\"x", "ex-canary&2%41", "va-canary'<3>", "ne-canary\\4"
CANARIES = (PASSWORD, EXTRA, VALUE, NESTED)


def forms(secret: str) -> set[str]:
    """How a secret may be written somewhere."""
    plain = json.dumps(secret)[1:-1]
    found = {secret, quote(secret), quote(secret, safe=""), plain, json.dumps(secret, ensure_ascii=False)[1:-1], secret.partition(" ")[0]}
    return found | {base64.b64encode(secret.encode()).decode().rstrip("="), base64.urlsafe_b64encode(secret.encode()).decode().rstrip("=")}


def leaks(text: Any) -> list[str]:
    """Canaries in a text, in any form."""
    text = text if isinstance(text, str) else str(text)
    return [form for secret in CANARIES for form in forms(secret) if form in text] + re.findall(r"..-canary", text)


@pytest.fixture
def known(settings, tmp_path):
    """Things of every kind, made over REST and the admin by somebody who sends secrets in every place that takes them."""
    settings.LOGS_FOLDER = tmp_path
    places = hostile.world("plain", tmp_path)
    Connection.objects.all().delete()
    Variable.objects.all().delete()
    api = Api()
    extra = json.dumps({"token": EXTRA, "deep": {"list": [{"api_key": NESTED}]}, "region": "eu"})
    body = {"connection_id": "c", "conn_type": "http", "host": "h", "login": "l", "password": PASSWORD, "extra": extra}
    assert api("POST", "/connections", body)[0] == 201
    assert api("PATCH", "/connections/c", {**body, "description": "changed"})[0] == 200
    assert api("POST", "/variables", {"key": "db_password", "value": VALUE})[0] == 201
    assert api("POST", "/variables", {"key": "settings", "value": json.dumps({"secret": {"inner": NESTED}, "a": 1})})[0] == 201
    assert api("PATCH", "/variables/db_password", {"key": "db_password", "value": VALUE, "description": "d"})[0] == 200
    assert AuditEvent.objects.count() >= 5
    return places


@pytest.fixture
def pages():
    client = Client()
    client.force_login(factories.user("reader"))
    return client


def test_1_rest_answers(known):
    api, seen = Api(), 0
    for operation in REGISTRY:
        if operation.method == "GET" and operation.may != PUBLIC and operation.base == AIRFLOW and "wait" not in operation.id:
            values = {**known, "connection_id": "c", "variable_key": "db_password"}
            answer = api.call("GET", re.sub(r"\{(\w+)[^}]*\}", lambda m, v=values: str(v.get(m[1], "x")), operation.path))
            assert leaks(answer.content.decode()) == [], operation.id
            seen += answer.status_code == 200
    assert seen > 40


def test_2_pages_and_forms_of_the_administration(known, pages):
    seen = 0
    for name, address in hostile.addresses(known).items():
        answer = pages.get(address)
        assert answer.streaming or leaks(answer.content.decode()) == [], name
    for model in (Connection, Variable, AuditEvent):
        for page, args in (("changelist", []), ("history", [model.objects.first().pk]), ("change", [model.objects.first().pk])):
            with contextlib.suppress(Exception):
                address = reverse(f"admin:access_{model._meta.model_name}_{page}", args=args)
                answer = pages.get(address)
                seen += answer.status_code == 200
                assert leaks(answer.content.decode()) == [], address
    assert seen >= 7


def test_3_logs_of_the_server(caplog, settings, tmp_path):
    import logging

    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.INFO, "django.db.backends")
    api = Api()
    for body in ({"connection_id": "c", "conn_type": "http", "password": PASSWORD, "extra": json.dumps({"token": EXTRA})},
                 {"connection_id": "/", "conn_type": "http", "password": PASSWORD}):  # fmt: skip
        api("POST", "/connections", body)
    api("POST", "/variables", {"key": "db_password", "value": VALUE})
    api("POST", "/variables", {"key": "db_password", "value": VALUE})
    Client().post("/login", {"username": "mara", "password": PASSWORD})
    Client().post("/auth/token", json.dumps({"username": "mara", "password": PASSWORD}), content_type="application/json")
    assert leaks(caplog.text) == []


def test_7_the_audit_trail(known):
    assert leaks(list(AuditEvent.objects.values())) == []
    assert AuditEvent.objects.filter(object_type__in=("connection", "variable")).count() >= 5


def test_8_examples_of_the_description(known):
    assert leaks(json.dumps(described(), default=str)) == []


def test_9_exports(known, pages):
    for address in (reverse("admin:access_auditevent_changelist"), "/audit"):
        for query in ("?export=csv", "?format=csv", "?format=jsonl"):
            answer = pages.get(address + query)
            body = b"".join(answer.streaming_content) if answer.streaming else answer.content
            assert leaks(body.decode()) == []
    for model in ("connection", "variable", "auditevent"):
        address = reverse(f"admin:access_{model}_changelist")
        listed = pages.get(address).content.decode()
        from django.apps import apps

        keys = list(apps.get_model("access", model)._default_manager.values_list("pk", flat=True))
        for action in re.findall(r'<option value="(\w*export\w*)"', listed):
            answer = pages.post(address, {"action": action, "_selected_action": keys})
            body = b"".join(answer.streaming_content) if answer.streaming else answer.content
            assert leaks(body.decode()) == [], (model, action)


def test_10_what_sockets_and_streams_tell(known):
    assert leaks(list(Event.objects.values())) == []


@pytest.mark.parametrize("secret", CANARIES)
def test_11_error_texts(known, secret):
    api = Api()
    wrong = [
        ("POST", "/connections", {"connection_id": secret, "conn_type": "http", "password": secret, "port": secret}),
        ("POST", "/connections", {"connection_id": "c", "conn_type": "http", "password": secret, "extra": secret}),
        ("POST", "/connections", {"connection_id": "c", "conn_type": "http", "password": {"x": secret}}),
        ("POST", "/connections", {"connection_id": "c", "conn_type": "http", "extra": json.dumps([secret])}),
        ("POST", "/variables", {"key": "db_password", "value": {"x": [secret]}, "nonsense": secret, "description": [secret]}),
        ("PATCH", "/connections", {"actions": [{"action": "create", "entities": [{"password": secret}]}]}),
        ("POST", "/connections/test", {"connection_id": "c", "conn_type": "postgres", "password": secret}),
    ]  # fmt: skip
    for method, path, body in wrong:
        status, answer = api(method, path, body)
        told = json.dumps(answer, ensure_ascii=False)
        assert status >= 400 or path == "/connections" or status == 201, (path, status)
        assert secret not in told and json.dumps(secret)[1:-1] not in told, (path, told)


def test_metrics_and_health_tell_numbers_only(known, settings):
    from apps.runs.metrics import door, health

    settings.METRICS_OPEN = True
    told = door._metrics("").decode()
    assert "airflow_" in told and leaks(told) == []
    assert leaks(json.dumps(health.whole()[1])) == []


def test_12_the_command_line(known, capsys):
    out = io.StringIO()
    call_command("rotate_secrets", "--dry-run", stdout=out, stderr=out)
    call_command("check", stdout=out, stderr=out)
    assert leaks(out.getvalue() + "".join(capsys.readouterr())) == []
