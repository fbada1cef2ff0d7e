"""Installed provider packages bring their types of connections to the form, without any of their code in the server."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from apps.access import announced
from apps.access.models import Connection, User
from apps.access.provider_types import type_of, types

pytestmark = pytest.mark.django_db
FORM = {
    "hook-class-name": "airflow.providers.acme.hooks.AcmeHook",
    "hook-name": "Acme Cloud",
    "connection-type": "acme",
    "ui-field-behaviour": {
        "hidden-fields": ["schema", "port"],
        "relabeling": {"login": "Account"},
        "placeholders": {"host": "acme.example", "extra": "{}"},
    },
    "conn-fields": {
        "region": {"label": "Region", "schema": {"type": ["string", "null"], "enum": ["north", "south"]}},
        "retries": {"label": "Retries", "description": "How often.", "schema": {"type": ["integer", "null"]}},
        "strict": {"label": "Strict", "schema": {"type": ["boolean", "null"]}},
        "api_key": {"label": "API key", "schema": {"type": ["string", "null"], "format": "password"}},
        "peers": {"label": "Peers", "schema": {"type": ["array", "null"]}},
    },
}
OLDER = {"hook-class-name": "airflow.providers.acme.hooks.OldHook", "connection-type": "acme_old"}
POSTGRES = {
    "hook-class-name": "airflow.providers.acme.hooks.AcmeHook", "hook-name": "Acme Postgres", "connection-type": "postgres",
    "conn-fields": {"fancy": {"label": "Fancy", "schema": {"type": "boolean"}}},
}  # fmt: skip
HOOKS = """
print("noise on stdout")
class AcmeHook: pass
class OldHook:
    @classmethod
    def get_ui_field_behaviour(cls):
        return {"hidden_fields": ["port", "schema", "login"], "relabeling": {"host": "Old host"}}
"""


def installed(folder: Path, info: str) -> None:
    """A provider package in a folder, as an installer would leave it."""
    package = folder / "airflow" / "providers" / "acme"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "hooks.py").write_text(HOOKS)
    (package / "get_provider_info.py").write_text(f"def get_provider_info():\n    {info}\n")
    metadata = folder / "apache_airflow_providers_acme-1.2.3.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: apache-airflow-providers-acme\nVersion: 1.2.3\n")
    target = "airflow.providers.acme.get_provider_info:get_provider_info"
    (metadata / "entry_points.txt").write_text(f"[apache_airflow_provider]\nprovider_info={target}\n")


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes the package appear beside this server, with what `get_provider_info` does."""

    def put(info: str) -> None:
        installed(tmp_path, info)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        announced.forget()

    yield put
    announced.forget()


@pytest.fixture
def op() -> Client:
    user = User.objects.create_user("op", password="correct horse battery")
    user.groups.add(Group.objects.get(name="Op"))
    client = Client()
    client.force_login(user)
    return client


ABOUT = {
    "package-name": "apache-airflow-providers-acme",
    "description": "`Acme Cloud <https://acme.example/>`__ and more\n",
    "connection-types": [FORM, OLDER, POSTGRES],
}


def test_the_form_has_the_fields_of_the_package_and_stores_them_typed(acme, op: Client):
    acme(f"return {ABOUT!r}")
    page = op.get(reverse("admin:access_connection_add"), {"conn_type": "acme"}).content.decode()
    assert 'value="acme"' in page and "Acme Cloud" in page and "Account" in page and 'placeholder="acme.example"' in page
    assert 'name="extra__region"' in page and 'name="schema"' not in page and 'name="port"' not in page
    assert 'type="password" name="extra__api_key"' in page
    sent = {
        "conn_id": "mine", "conn_type": "acme", "host": "acme.example", "extra__region": "south", "extra__retries": "3",
        "extra__strict": "true", "extra__api_key": "a-key", "extra__peers": '["a", "b"]',
    }  # fmt: skip
    answer = op.post(reverse("admin:access_connection_add"), sent)
    assert answer.status_code == 302, answer.content.decode()
    kept = json.loads(Connection.objects.get(conn_id="mine").extra or "")
    assert kept == {"region": "south", "retries": 3, "strict": True, "api_key": "a-key", "peers": ["a", "b"]}
    wrong = op.post(reverse("admin:access_connection_add"), {**sent, "conn_id": "other", "extra__peers": "not json canary"})
    assert wrong.status_code == 200 and "This is not JSON" in wrong.content.decode()
    assert "not json canary" not in wrong.content.decode()


def test_no_code_of_a_package_runs_in_the_server(acme):
    acme(f"import sys; sys.modules['acme_was_here'] = sys; return {ABOUT!r}")
    assert type_of("acme").package == "apache-airflow-providers-acme"
    assert "acme_was_here" not in sys.modules
    assert not [name for name in sys.modules if name.startswith("airflow.providers.acme")]


def test_the_child_holds_no_secret_of_the_server(acme, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://canary")
    monkeypatch.setenv("TRACKSIDE_SECRET_KEY", "canary")
    monkeypatch.setenv("PGPASSWORD", "canary")
    acme(f"import os; return {{**{ABOUT!r}, 'description': ' '.join(k for k, v in os.environ.items() if 'canary' in v)}}")
    (package,) = announced.read()["packages"]
    assert package == {"name": "apache-airflow-providers-acme", "version": "1.2.3", "description": "", "documentation_url": None}


def test_an_older_package_says_it_in_its_hook_and_a_known_type_keeps_what_only_trackside_knows(acme):
    acme(f"return {ABOUT!r}")
    old = type_of("acme_old")
    assert (old.host, old.port, old.login, old.password) == ("Old host", "", "", "Password")
    postgres = type_of("postgres")
    assert postgres.name == "Acme Postgres" and postgres.schema == "Database"
    assert [extra.key for extra in postgres.extras] == ["fancy", "sslmode", "connect_timeout", "options"]
    assert types()[0].id == "generic"


def test_a_broken_package_leaves_the_known_types(acme):
    acme("raise RuntimeError('boom')")
    assert announced.read()["types"] == []
    assert type_of("acme") is type_of(None) and type_of("postgres").name == "PostgreSQL"


def test_the_child_is_asked_once_for_the_same_packages(acme, tmp_path: Path):
    acme(f"open({str(tmp_path / 'count')!r}, 'a').write('x'); return {ABOUT!r}")
    assert [announced.read()["types"][0]["id"] for _ in range(3)] == ["acme"] * 3
    announced._looked_at = float("-inf")
    announced.read()
    assert (tmp_path / "count").read_text() == "x"
