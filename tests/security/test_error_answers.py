"""S25: when the server fails, nobody but its log hears how: no traceback, path, statement or secret in any answer."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.conf import settings as site
from django.test import Client

from apps.access import policy
from apps.access.rest.operations import PUBLIC, REGISTRY
from apps.access.tests.resthelp import Api
from apps.runs.execution import asgi
from apps.runs.tests.test_execution_routes import PATHS, call, in_this_thread  # noqa: F401
from apps.ui.tests import factories
from tests.support import hostile

pytestmark = pytest.mark.django_db
SECRET = "postgresql://root:canary-of-the-site@db/x"
TELLING = re.compile(r"canary-of-the-site|Traceback|File \"|\.py\b|SELECT |psycopg|django\.|RuntimeError|line \d+, in", re.I)


def fail(*_: Any, **__: Any) -> Any:
    raise RuntimeError(f"{SECRET} in /srv/trackside/apps/x.py: SELECT * FROM access_connection")


def test_s25_debug_cannot_be_switched_on(monkeypatch):
    import ast
    from pathlib import Path

    tree = ast.parse((Path(site.ROOT) / "platform/config/settings.py").read_text(encoding="utf-8"))
    found = [n.value for n in ast.walk(tree) if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "DEBUG"]
    assert [ast.literal_eval(v) for v in found] == [False] and site.DEBUG is False


def test_s25_a_failing_operation_says_that_it_failed_and_nothing_else(monkeypatch, caplog):
    api, seen = Api(), 0
    monkeypatch.setattr(policy, "allowed", fail)
    for operation in REGISTRY:
        if operation.may == PUBLIC:
            continue
        path = re.sub(r"\{(\w+)[^}]*\}", "1", operation.path)
        answer = api.client.generic(operation.method, operation.base + path, headers={"Authorization": f"Bearer {api.token}"})
        text = answer.content.decode()
        assert answer.status_code in (500, 405) and not TELLING.search(text), (operation.id, answer.status_code, text[:200])
        seen += answer.status_code == 500
    assert seen > 120 and text.strip() == '{"detail":"Internal Server Error"}'
    assert "canary-of-the-site" in caplog.text, "the log has it"


def test_s25_a_failing_page_says_that_it_failed_and_nothing_else(monkeypatch, settings, tmp_path):
    settings.LOGS_FOLDER = tmp_path
    known = hostile.world("plain", tmp_path)
    client = Client(raise_request_exception=False)
    client.force_login(factories.user())
    from apps.ui import page, rights

    for where in (rights, page):
        for name in ("allowed", "zone_of"):
            if hasattr(where, name):
                monkeypatch.setattr(where, name, fail)
    failed = 0
    for name, address in hostile.addresses(known).items():
        answer = client.get(address)
        text = b"".join(answer.streaming_content).decode() if answer.streaming else answer.content.decode()
        assert not TELLING.search(text), (name, text[:300])
        failed += answer.status_code == 500
    assert failed > 30
    assert "the reason is in the log" in client.get("/").content.decode()


def test_s25_a_failing_execution_api_says_that_it_failed_and_nothing_else(monkeypatch):
    async def broken(*_: Any, **__: Any) -> Any:
        return fail()

    monkeypatch.setattr(asgi, "_in_thread", broken)
    for method, path in [*PATHS, ("POST", "/exchange")]:
        status, body = call(method, re.sub(r"\{\w+\}", "1", path), site.WORKER_TOKEN, {"worker_id": "1"})
        assert status in (500, 422) and not TELLING.search(str(body)), (path, body)


def test_s25_an_unknown_address_tells_nothing_of_the_others():
    for path in ("/nope", "/dags/nope", "/api/v2/nope", "/api/v2/dags/nope", "/static/nope", "/admin/nope"):
        text = Api().client.get(path).content.decode()
        assert not TELLING.search(text) and "urlpatterns" not in text and "URLconf" not in text
