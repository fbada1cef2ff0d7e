"""Secrets back ends: which place answers first, what goes on when one fails, and files as a back end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

from trackside import airflow
from trackside.runner import lookup
from trackside.runner.parsing.settings import clean_environment
from trackside.sdk import log, secrets
from trackside.sdk.connection import Connection
from trackside.sdk.exceptions import AirflowConfigException, AirflowNotFoundException, AirflowSecretsBackendAccessDenied
from trackside.sdk.execution.comms import MemoryComms
from trackside.sdk.execution.current import use_comms
from trackside.sdk.variable import Variable

BACKEND = """
    from airflow.models import Connection
    from airflow.secrets import BaseSecretsBackend
    from airflow.sdk import Variable
    from airflow.sdk.exceptions import AirflowSecretsBackendAccessDenied

    class Vault(BaseSecretsBackend):
        made = 0

        def __init__(self, name="vault", token=None, broken=False):
            super().__init__()
            type(self).made += 1
            self.name = name
            if broken:
                raise ConnectionError("vault is sealed")

        def get_conn_value(self, conn_id):
            if conn_id == "own_login":
                return Variable.get("own_login", default=None)
            return f"http://u:from-{self.name}@host" if conn_id in ("both", "vaulted") else None

        def get_variable(self, key, team_name=None):
            if key == "locked":
                raise AirflowSecretsBackendAccessDenied("not for you")
            if key == "sick":
                raise TimeoutError("vault does not answer")
            if key == "own":
                return "seen by " + Variable.get("own_login")
            return f"from-{self.name}" if key in ("both", "vaulted", "api_key") else None
"""


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A back end module on the path, and a server that has some of the same names."""
    (tmp_path / "site_vault.py").write_text(textwrap.dedent(BACKEND))
    monkeypatch.syspath_prepend(str(tmp_path))
    was_installed = airflow.is_installed()
    airflow.install()
    log.forget_secrets()
    for name in [n for n in os.environ if n.startswith(("AIRFLOW__SECRETS__", "AIRFLOW__WORKERS__SECRETS"))]:
        monkeypatch.delenv(name)
    server = MemoryComms(
        connections={name: {"conn_type": "http", "password": "from-server"} for name in ("both", "kept")},
        variables=dict.fromkeys(("both", "kept", "locked", "sick", "own_login"), "from-server"),
    )
    with use_comms(server):
        yield server
    secrets._made.clear()
    secrets._was_asked = False
    sys.modules.pop("site_vault", None)
    log.forget_secrets()
    if not was_installed:
        airflow.uninstall()


@pytest.fixture
def vault(places, monkeypatch):
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", "site_vault.Vault")
    return places


def test_the_back_end_is_asked_before_the_environment_and_the_server(vault, monkeypatch):
    monkeypatch.setenv("AIRFLOW_VAR_BOTH", "from-environment")
    monkeypatch.setenv("AIRFLOW_CONN_BOTH", "http://u:from-environment@host")
    assert Variable.get("both") == "from-vault"
    assert Connection.get("both").password == "from-vault"
    assert vault.requests == []


def test_what_the_back_end_does_not_have_comes_from_the_environment_and_then_from_the_server(vault, monkeypatch):
    monkeypatch.setenv("TRACKSIDE_VAR_SET_HERE", "from-environment")
    monkeypatch.setenv("TRACKSIDE_CONN_SET_HERE", '{"conn_type": "http", "password": "from-environment"}')
    assert Variable.get("set_here") == "from-environment"
    assert Connection.get("set_here").password == "from-environment"
    assert Variable.get("kept") == "from-server"
    assert Connection.get("kept").password == "from-server"
    assert Variable.get("nowhere", default="mine") == "mine"
    with pytest.raises(AirflowNotFoundException, match="`nowhere` isn't defined"):
        Connection.get("nowhere")


def test_with_a_back_end_for_workers_the_other_one_comes_after_the_environment(vault, monkeypatch):
    monkeypatch.setenv("AIRFLOW__WORKERS__SECRETS_BACKEND", "airflow.secrets.local_filesystem.LocalFilesystemBackend")
    monkeypatch.setenv("AIRFLOW_VAR_BOTH", "from-environment")
    assert Variable.get("both") == "from-environment"
    assert Variable.get("vaulted") == "from-vault"


def test_arguments_come_from_the_json_and_single_ones_from_variables_of_their_own(vault, monkeypatch):
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARGS", json.dumps({"name": "json", "token": "t"}))
    assert Variable.get("vaulted") == "from-json"
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARG__NAME", "single")
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARG__TOKEN", "login-of-the-vault")
    assert Variable.get("vaulted") == "from-single"
    assert "login-of-the-vault" in vault.masked


def test_a_back_end_is_made_once_per_process(vault):
    for _ in range(3):
        Variable.get("vaulted")
        Connection.get("vaulted")
    assert sys.modules["site_vault"].Vault.made == 1


def test_secrets_of_a_back_end_are_masked_like_all_others(vault):
    Connection.get("vaulted")
    assert log.redact("it said from-vault") == "it said ***"


def test_a_back_end_that_fails_is_named_in_the_log_and_the_next_place_is_asked(vault, caplog):
    assert Variable.get("sick") == "from-server"
    assert "[secrets] backend (site_vault.Vault) failed to look up the variable sick: TimeoutError: vault does not answer" in caplog.text


def test_a_denial_of_a_back_end_ends_the_search(vault):
    with pytest.raises(AirflowSecretsBackendAccessDenied, match="not for you"):
        Variable.get("locked", default="anything")
    assert vault.requests == []


def test_a_back_end_that_looks_up_its_own_login_does_not_ask_itself(vault):
    assert Variable.get("own") == "seen by from-server"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("AIRFLOW__SECRETS__BACKEND", "site_vault.Missing", r"\[secrets\] backend names site_vault.Missing.*Install its package"),
        ("AIRFLOW__SECRETS__BACKEND_KWARG__BROKEN", "yes", "ConnectionError: vault is sealed"),
        ("AIRFLOW__SECRETS__BACKEND_KWARGS", "[1]", "AIRFLOW__SECRETS__BACKEND_KWARGS is no JSON object"),
        ("AIRFLOW__SECRETS__BACKEND_KWARGS", "{", "AIRFLOW__SECRETS__BACKEND_KWARGS is no JSON object"),
    ],
)
def test_a_back_end_that_cannot_be_made_fails_the_lookup_and_says_which_option_to_correct(vault, monkeypatch, name, value, says):
    monkeypatch.setenv(name, value)
    with pytest.raises(AirflowConfigException, match=says):
        Variable.get("kept")


# --- files ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("suffix", "connections", "variables"),
    [
        (
            "json",
            '{"db": {"conn_type": "postgres", "password": "pw", "extra_dejson": {"a": 1}}, "web": "http://h:80"}',
            '{"n": {"a": 1}, "t": "x"}',
        ),
        ("yaml", "db: {conn_type: postgres, password: pw, extra: {a: 1}}\nweb: http://h:80\n", "n: {a: 1}\nt: x\n"),
        ("env", '# comment\ndb={"conn_type": "postgres", "password": "pw", "extra": {"a": 1}}\nweb=http://h:80\n', 'n={"a": 1}\nt=x\n'),
    ],
)
def test_files_are_a_back_end(places, monkeypatch, tmp_path, suffix, connections, variables):
    (tmp_path / f"c.{suffix}").write_text(connections)
    (tmp_path / f"v.{suffix}").write_text(variables)
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", "airflow.secrets.local_filesystem.LocalFilesystemBackend")
    kwargs = {"connections_file_path": str(tmp_path / f"c.{suffix}"), "variables_file_path": str(tmp_path / f"v.{suffix}")}
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARGS", json.dumps(kwargs))
    found = Connection.get("db")
    assert (found.conn_type, found.password, found.extra_dejson) == ("postgres", "pw", {"a": 1})
    assert (Connection.get("web").host, Connection.get("web").port) == ("h", 80)
    assert Variable.get("n", deserialize_json=True) == {"a": 1}
    assert Variable.get("t") == "x"
    assert Variable.get("kept") == "from-server"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("v.json", '{\n"a": }', "line 2"), ("v.yaml", "a: b\n c: d: e\n", "line 2"), ("v.env", "A=1\nB\n", "line 2: write KEY=VALUE"),
        ("v.env", "A=1\nA=2\n", "A has 2 values"), ("v.txt", "A=1", "must end in .env, .json"), ("v.json", "[]", "an object of names"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_is_named_with_its_line_and_the_search_goes_on(places, monkeypatch, tmp_path, caplog, name, text, says):
    (tmp_path / name).write_text(text)
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", "airflow.secrets.local_filesystem.LocalFilesystemBackend")
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARG__VARIABLES_FILE_PATH", str(tmp_path / name))
    assert Variable.get("kept") == "from-server"
    assert name in caplog.text
    assert says in caplog.text


# --- who else -------------------------------------------------------------------------------------------------------------
def test_bundles_have_their_connections_looked_up_in_a_child_process(places, monkeypatch, tmp_path):
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "site_vault.py").write_text(textwrap.dedent(BACKEND))
    monkeypatch.setenv("TRACKSIDE_PLUGINS_FOLDER", str(plugins))
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", "site_vault.Vault")
    assert lookup.connection("vaulted")["password"] == "from-vault"
    assert lookup.connection("kept") is None
    assert "site_vault" not in sys.modules
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARG__BROKEN", "yes")
    with pytest.raises(lookup.LookupFailed, match="vault is sealed"):
        lookup.connection("vaulted")


def test_without_a_back_end_bundles_have_the_environment(places, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_GIT_A", "git://:pat@example.com")
    assert lookup.connection("git_a")["password"] == "pat"
    assert lookup.connection("kept") is None


def test_files_being_parsed_see_connections_and_variables_of_the_environment_and_no_other_setting():
    given = {"TRACKSIDE_VAR_A": "1", "TRACKSIDE_CONN_B": "x://", "TRACKSIDE_FERNET_KEYS": "key", "AIRFLOW__SECRETS__BACKEND": "a.B"}
    kept = clean_environment(given)
    assert {n: kept.get(n) for n in given} == {**given, "TRACKSIDE_FERNET_KEYS": None}


def test_a_file_that_asks_a_back_end_while_it_is_loaded_is_not_kept_to_be_forked_from(tmp_path):
    (tmp_path / "site_vault.py").write_text(textwrap.dedent(BACKEND))
    dag_file = tmp_path / "d.py"
    dag_file.write_text("from airflow.sdk import DAG, Variable\nwith DAG('d', description=Variable.get('vaulted', 'x')):\n    pass\n")
    program = "import sys\nfrom trackside import airflow\nairflow.install()\nfrom trackside.runner.loading import load_for_zygote\n"
    program += "print(load_for_zygote(sys.argv[1], None, {}).unfit)"
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "AIRFLOW__SECRETS__BACKEND": "site_vault.Vault"}
    done = subprocess.run([sys.executable, "-c", program, str(dag_file)], env=env, capture_output=True, text=True, check=True)
    assert "it asks a secrets back end while it is loaded" in done.stdout
