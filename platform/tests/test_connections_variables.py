"""Connections and variables as task code finds them, and that their secrets are hidden before they are handed out."""

from __future__ import annotations

import pytest

from trackside.sdk import log
from trackside.sdk.connection import Connection
from trackside.sdk.exceptions import AirflowNotFoundException
from trackside.sdk.execution.comms import MemoryComms
from trackside.sdk.execution.current import use_comms
from trackside.sdk.hooks import BaseHook
from trackside.sdk.log import mask_secret, redact
from trackside.sdk.variable import Variable


@pytest.fixture
def comms():
    log.forget_secrets()
    active = MemoryComms(
        connections={
            "db": {"conn_type": "postgres", "password": "p@ssword", "extra": '{"token": "extra-token", "mode": "x"}'},
        },
        variables={"a": "alpha", "j": '{"k": [1]}', "my_password": "hush-hush"},
    )
    with use_comms(active):
        yield active
    log.forget_secrets()


@pytest.mark.parametrize(
    ("uri", "fields"),
    [
        (
            "postgresql://u:p%40ss@Host:5432/db?a=1&b=x",
            {"conn_type": "postgres", "login": "u", "password": "p@ss", "host": "Host", "port": 5432, "schema": "db"}
            | {"extra": {"a": "1", "b": "x"}},
        ),
        (
            "google-cloud-platform://?__extra__=%7B%22n%22%3A+%7B%22k%22%3A+1%7D%7D",
            {"conn_type": "google_cloud_platform", "extra": {"n": {"k": 1}}},
        ),
        ("http://https://h.example/x", {"conn_type": "http", "host": "https://h.example", "schema": "x"}),
        ("mysql://@:3306/", {"conn_type": "mysql", "port": 3306}),
    ],
)  # fmt: skip
def test_a_uri_is_read_and_written_back(uri, fields):
    found = Connection.from_uri(uri)
    assert {k: v for k, v in found.to_dict(prune_empty=True).items() if k != "conn_id"} == fields
    assert Connection.from_uri(found.get_uri()).to_dict(prune_empty=True) == found.to_dict(prune_empty=True)


def test_a_connections_secrets_are_masked_before_it_is_handed_out(comms):
    found = BaseHook.get_connection("db")
    assert found.password == "p@ssword"
    assert {"p@ssword", "p%40ssword", "extra-token"} <= set(comms.masked)
    assert "x" not in comms.masked
    assert redact("psql p@ssword and extra-token") == "psql *** and ***"


def test_the_environment_wins(comms, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_DB", "sqlite:///x")
    monkeypatch.setenv("AIRFLOW_VAR_A", "from env")
    assert Connection.get("db").conn_type == "sqlite"
    assert Variable.get("a") == "from env"
    monkeypatch.setenv("AIRFLOW_CONN_J", '{"conn_type": "http", "port": 80, "extra": {"k": 1}}')
    assert Connection.get("j").extra_dejson == {"k": 1}
    assert comms.requests == []


def test_what_is_not_there(comms):
    with pytest.raises(AirflowNotFoundException, match="The conn_id `nope` isn't defined"):
        Connection.get("nope")
    with pytest.raises(KeyError, match="Variable nope does not exist"):
        Variable.get("nope")
    assert Variable.get("nope", default=None) is None
    assert Variable.get("nope", default_var="d") == "d"


def test_variables_are_set_listed_and_deleted(comms):
    Variable.set("new", {"k": 1}, serialize_json=True)
    assert Variable.get("new", deserialize_json=True) == {"k": 1}
    assert Variable.keys("n") == ["new"]
    Variable.delete("new")
    Variable.delete("new")
    assert Variable.keys() == ["a", "j", "my_password"]
    assert Variable.get("j", deserialize_json=True) == {"k": [1]}


def test_a_sensitive_variable_is_masked(comms):
    assert Variable.get("my_password") == "hush-hush"
    assert comms.masked == ["hush-hush"]
    Variable.get("a")
    assert comms.masked == ["hush-hush"]


def test_redaction_follows_names_and_known_values(comms):
    mask_secret("topsecret")
    value = {"password": "x", "n": ["is topsecret!", {"api_key": {"deep": 1}}], "t": ("topsecret", 5)}
    assert redact(value) == {"password": "***", "n": ["is ***!", {"api_key": {"deep": "***"}}], "t": ("***", 5)}
    mask_secret("abcd")
    assert redact("abcd") == "abcd"
