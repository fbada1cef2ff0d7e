"""S13, S2: what anybody may write – notes, docs, tags, links, logs, errors – becomes neither markup of a page nor a template."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from apps.access.rest.operations import AIRFLOW, PUBLIC, REGISTRY
from apps.access.tests.resthelp import Api
from apps.ui.tests import factories
from tests.support import hostile

pytestmark = pytest.mark.django_db
POLYGLOTS = [
    "javascript:/*--></title></style></textarea></script><xss-canary/onmouseover='alert(1)'>\"'><xss-canary onload=alert(1)>"
    "<script>alert(1)</script>]]></script><svg/onload=alert(1)>",
    "data:text/html,<xss-canary onfocus=alert(1) autofocus>",
]
TEMPLATES = "{{7*7191}}{% load x %}{{ settings.SECRET_KEY }}${7*7191}#{7*7191}<%= 7*7191 %>{7*7191!r}%(message)s{0.__class__}"
MEDIA = ("application/json", "text/plain", "application/x-ndjson")
EXTRA = ("?tab=xcom", "?tab=rendered", "?tab=details", "?tab=gantt", "?tab=events", "?view=table", "?v=1&diff=1", "?q=x")


class Judge(HTMLParser):
    """Collects what a page must not have."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.bad: list[str] = []
        self.elements = 0
        self._in_script: dict[str, str | None] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements += 1
        if tag == "xss-canary":
            self.bad.append(f"<{tag}>")
        for name, value in attrs:
            text = re.sub(r"[\x00-\x20]", "", value or "").lower()
            if name.startswith("on") or (name == "style" and "canary" in text):
                self.bad.append(f"{tag} {name}={value}")
            if name in ("href", "src", "action", "formaction", "xlink:href") and text.startswith(("javascript:", "data:text", "vbscript:")):
                self.bad.append(f"{tag} {name}={value}")
        if tag == "script":
            found = dict(attrs)
            self._in_script = None if "src" in found or found.get("type") == "application/json" else found

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._in_script = None

    def handle_data(self, data: str) -> None:
        if self._in_script is not None and data.strip():
            self.bad.append(f"<script>{data[:60]}")


def judged(answer: Any) -> list[str]:
    """What is wrong with an answer: markup in pages, another media type or sniffing for the rest."""
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    assert answer["X-Content-Type-Options"] == "nosniff"
    if not answer.get("Content-Type", "").startswith("text/html"):
        return []
    judge = Judge()
    judge.feed(body.decode())
    judge.close()
    return judge.bad


def every_page(client: Client, known: dict[str, Any]) -> list[tuple[str, Any]]:
    """All pages with their tabs, as whole pages and as pieces; pages of the administration."""
    found = []
    for name, address in hostile.addresses(known).items():
        for more in ("", *(EXTRA if name in ("dag", "run", "task", "dag_code", "tasks", "audit") else ())):
            found.append((name + more, client.get(address + more, headers={"HX-Request": "true"} if more else {})))
    for model, kind in (("access", "connection"), ("access", "variable"), ("runs", "pool"), ("access", "auditevent"), ("runs", "run"),
                        ("runs", "taskinstance"), ("dags", "dag")):  # fmt: skip
        found.append((kind, client.get(reverse(f"admin:{model}_{kind}_changelist"))))
        from django.apps import apps

        for pk in apps.get_model(model, kind)._default_manager.values_list("pk", flat=True)[:2]:
            found.append((kind, client.get(reverse(f"admin:{model}_{kind}_change", args=[pk]))))
    return found


@pytest.fixture
def client(settings, tmp_path):
    settings.LOGS_FOLDER = tmp_path
    signed = Client(raise_request_exception=True)
    signed.force_login(factories.user("reader"))
    return signed


@pytest.mark.parametrize("text", POLYGLOTS, ids=["markup", "data"])
def test_s13_no_text_becomes_markup_on_any_page(client, text, tmp_path):
    known = hostile.world(text, tmp_path)
    pages = every_page(client, known)
    shown = sum("xss-canary" in a.content.decode() for _, a in pages if not a.streaming and a.status_code == 200)
    assert {name: bad for name, answer in pages if (bad := judged(answer))} == {}
    assert {name: a.status_code for name, a in pages if a.status_code >= 500} == {}
    assert shown > 15, "the texts reach the pages"


def test_s13_what_is_no_page_is_never_taken_for_one(client, tmp_path):
    known = hostile.world(POLYGLOTS[1], tmp_path)
    api, seen = Api(), 0
    for operation in REGISTRY:
        if operation.method != "GET" or operation.may == PUBLIC or operation.base != AIRFLOW or "wait" in operation.id:
            continue
        path = re.sub(r"\{(\w+)[^}]*\}", lambda m: str(known.get(m[1], "x")).replace("/", "%2F").replace("?", "%3F"), operation.path)
        answer = api.call("GET", path)
        assert answer.status_code < 500, operation.id
        assert answer.get("Content-Type", "application/json").partition(";")[0] in MEDIA, operation.id
        assert answer["X-Content-Type-Options"] == "nosniff", operation.id
        seen += answer.status_code == 200
    assert seen > 30


def test_s13_what_comes_back_in_an_error_is_no_markup(client):
    for start in ("/", "/dags/", "/login?next=", "/dags?q=", "/audit?who=", "/runs?state=", "/tasks?state="):
        path = f"{start}<xss-canary onload=1>"
        assert judged(client.get(path)) == [], path


def test_s2_no_text_is_a_template_and_none_is_lost(client, tmp_path, monkeypatch):
    import jinja2

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("the server renders a template of Jinja")

    monkeypatch.setattr(jinja2.Environment, "__init__", forbidden)
    monkeypatch.setattr(jinja2.Environment, "from_string", forbidden)
    known = hostile.world(TEMPLATES, tmp_path)
    pages = every_page(client, known)
    bodies = {name: a.content.decode() for name, a in pages if not a.streaming}
    assert [name for name, body in bodies.items() if "50337" in body] == []
    assert sum("{{7*7191}}" in body for body in bodies.values()) > 15
    api = Api()
    for path, field in (("/pools", None), ("/connections/c", None), ("/variables/v", "value"), ("/dags/orders/details", "description"),
                        (f"/dags/orders/dagRuns/{known['run_id']}", "note")):  # fmt: skip
        status, body = api.get(path)
        assert status in (200, 404) and "50337" not in json.dumps(body), path
        assert field is None or status == 404 or body[field] == TEMPLATES, path
