"""S1: server code neither unpickles nor imports what data names. S20: no way out by `next`. S24: headers on every page."""

from __future__ import annotations

import ast
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from django.test import Client
from django.urls import URLResolver, get_resolver, reverse

from apps.access.tests.resthelp import person
from apps.ui.tests import factories

ROOT = Path(__file__).resolve().parents[2]
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}
CALLS = {"eval", "exec", "import_string", "unsafe_load", "full_load"}


def offences(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.partition(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module or ""] if (node.module or "").partition(".")[0] in MODULES else []
        elif isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr if isinstance(node.func, ast.Attribute) else ""
            bare = isinstance(node.func, ast.Name) or name not in ("eval", "exec")
            found += [name] if name in CALLS and bare else []
    return found


def test_s1_server_code_neither_unpickles_nor_evaluates_nor_imports_by_name():
    files = [p for p in (ROOT / "apps").rglob("*.py") if "tests" not in p.parts and "migrations" not in p.parts]
    assert len(files) > 150
    assert {str(p.relative_to(ROOT)): bad for p in files if (bad := offences(p.read_text(encoding="utf-8")))} == {}


@pytest.mark.parametrize("source", ["import pickle", "from dill import loads", "eval(x)", "import yaml\nyaml.unsafe_load(x)"])
def test_s1_the_search_finds(source):
    assert offences(source)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "target",
    ["//evil.example", "/\\evil.example", "https:evil.example", "https://testserver@evil.example/", "%2f%2fevil.example",
     "javascript:alert(1)", "\thttps://evil.example", "http:///evil.example"],
)  # fmt: skip
def test_s20_signing_in_leads_to_no_other_site(target):
    for changed in (False, True):
        user = person("Viewer", password="correct horse battery", must_change_password=changed)
        client = Client()
        answer = client.post("/login", {"username": user.username, "password": "correct horse battery", "next": target})
        if changed:
            own = "another staple 41"
            answer = client.post(reverse("new_password"), {"new_password1": own, "new_password2": own})
        where = urlsplit(urljoin("http://testserver/login", answer["Location"].replace("\\", "/").strip()))
        assert (where.scheme, where.netloc) == ("http", "testserver"), answer["Location"]


@pytest.mark.django_db
def test_s24_every_page_carries_the_headers():
    factories.dag("orders")
    client, seen = Client(), 0
    client.force_login(factories.user())
    for name in (n for p in get_resolver().url_patterns if isinstance(p, URLResolver) for n in named(p)):
        needs = list(get_resolver().reverse_dict.getlist(name)[0][0][0][1])
        if set(needs) - {"dag_id"} or name == "sign_out_everywhere":
            continue
        answer = client.get(reverse(name, kwargs=dict.fromkeys(needs, "orders")))
        if answer.status_code != 200:
            continue
        seen += 1
        policy = answer["Content-Security-Policy"]
        assert "unsafe-inline" not in policy and "frame-ancestors 'none'" in policy and "object-src 'none'" in policy, name
        assert (answer["X-Content-Type-Options"], answer["X-Frame-Options"]) == ("nosniff", "DENY"), name
        assert answer["Referrer-Policy"] == "same-origin", name
    assert seen > 15


def named(resolver: URLResolver) -> list[str]:
    return [p.name for p in resolver.url_patterns if getattr(p, "name", None) and hasattr(p.callback, "needs")]
