"""What provider packages find of Airflow: the manager of providers, options, asset URIs, lineage, mail, parts of the server."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from trackside import airflow as bridge
from trackside.sdk import installed

INFO = {
    "package-name": "apache-airflow-providers-acme",
    "connection-types": [{"connection-type": "acme", "hook-class-name": "airflow.providers.acme.code.AcmeHook", "hook-name": "Acme"}],
    "asset-uris": [{"schemes": ["acme"], "handler": "airflow.providers.acme.code.clean", "factory": "airflow.providers.acme.code.make"}],
    "task-decorators": [{"name": "acme", "class-name": "airflow.providers.acme.code.acme_task"}],
    "dialects": [{"dialect-type": "acmesql", "dialect-class-name": "airflow.providers.acme.code.AcmeHook"}],
    "config": {"acme": {"options": {"Speed": {"default": 7}, "nothing": {"default": None}}}},
}
CODE = """
from airflow.hooks.base import BaseHook
from airflow.sdk import Asset

class AcmeHook(BaseHook):
    conn_name_attr = "acme_conn_id"
    def __init__(self, acme_conn_id="x", **kw):
        super().__init__()
        self.acme_conn_id = acme_conn_id

def clean(parts):
    if not parts.path:
        raise ValueError("acme:// needs a path")
    return parts._replace(netloc=parts.netloc.lower())

def make(*, place, extra):
    return Asset(uri=f"acme://{place}/x", extra=extra)

def acme_task(function): return function
"""


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package on the path, the bridge installed."""
    package = tmp_path / "airflow" / "providers" / "acme"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "code.py").write_text(CODE)
    (package / "info.py").write_text(f"def get():\n    return {INFO!r}\n")
    metadata = tmp_path / "apache_airflow_providers_acme-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: apache-airflow-providers-acme\nVersion: 1.2\n")
    (metadata / "entry_points.txt").write_text("[apache_airflow_provider]\nprovider_info=airflow.providers.acme.info:get\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    bridge.uninstall()
    bridge.install()
    _forget()
    yield
    monkeypatch.undo()
    bridge.uninstall()
    _forget()


def _forget() -> None:
    for cached in (installed.providers, installed.uri_handlers, installed.option_defaults):
        cached.cache_clear()


def test_the_manager_of_providers_tells_what_packages_bring(acme):
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    manager.initialize_providers_hooks()
    hook = manager.hooks["acme"]
    assert hook.package_name == "apache-airflow-providers-acme"
    assert (hook.connection_id_attribute_name, hook.hook_name) == ("acme_conn_id", "Acme")
    assert manager.providers["apache-airflow-providers-acme"].version == "1.2"
    assert manager.dialects["acmesql"].provider_name == "apache-airflow-providers-acme"
    assert "acme" in manager.taskflow_decorators and manager is ProvidersManager()
    with pytest.raises(AttributeError, match="no_such"):
        _ = manager.no_such


def test_a_connection_finds_the_hook_of_its_type(acme, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW_CONN_MINE", "acme://host")
    from airflow.sdk import BaseHook

    hook = BaseHook.get_hook("mine")
    assert type(hook).__name__ == "AcmeHook" and hook.acme_conn_id == "mine"


def test_asset_uris_are_cleaned_by_the_package_of_their_scheme(acme):
    from airflow.sdk import Asset

    assert Asset("acme://HOST/a").uri == "acme://host/a"
    with pytest.raises(ValueError, match="needs a path"):
        Asset("acme://host")


def test_options_of_packages_have_their_defaults_and_the_environment_wins(acme, monkeypatch: pytest.MonkeyPatch):
    from airflow.configuration import conf

    assert conf.getint("acme", "speed") == 7 and conf.getsection("acme") == {"speed": "7"}
    monkeypatch.setenv("AIRFLOW__ACME__SPEED", "9")
    assert conf.getint("acme", "SPEED") == 9
    assert conf.get("acme", "nothing", fallback="none") == "none"


def test_lineage_is_collected_from_when_somebody_reads_it(acme):
    """In a process of its own: who reads once, collects until the process ends."""
    code = """
        from trackside.airflow import install; install()
        from airflow.sdk.lineage import HookLineageReader, get_hook_lineage_collector
        hook = object()
        get_hook_lineage_collector().add_input_asset(hook, uri="acme://A/x")
        assert not get_hook_lineage_collector().has_collected
        reader = HookLineageReader()
        collector = get_hook_lineage_collector()
        collector.add_input_asset(hook, uri="acme://A/x")
        collector.add_input_asset(hook, uri="acme://a/x")
        collector.add_output_asset(hook, scheme="acme", asset_kwargs={"place": "b"}, asset_extra={"rows": 1})
        collector.add_output_asset(hook, scheme="nobody")
        collector.add_extra(hook, "sql", "SELECT 1")
        found = reader.retrieve_hook_lineage()
        assert [(one.asset.uri, one.count) for one in found.inputs] == [("acme://a/x", 2)], found
        assert [(one.asset.uri, one.asset.extra) for one in found.outputs] == [("acme://b/x", {"rows": 1})], found
        assert [(one.key, one.value) for one in found.extra] == [("sql", "SELECT 1")], found
    """
    program = f"import sys; sys.path[:0] = [{sys.path[0]!r}]\n{dedent(code)}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("module", "name", "says"),
    [
        ("airflow.executors.base_executor", "BaseExecutor", "executors of its own"),
        ("airflow.models.dag", "DagModel", "cannot reach the database"),
        ("airflow.utils.log.file_task_handler", "FileTaskHandler", "keeps the logs"),
        ("airflow.settings", "Session", "cannot reach the database"),
        ("airflow.api_fastapi.auth.managers.base_auth_manager", "BaseAuthManager", "signs people in itself"),
    ],
)
def test_parts_of_airflows_server_can_be_imported_and_subclassed_but_not_used(acme, module: str, name: str, says: str):
    from trackside.airflow.parts.serverside import NotInTrackside

    part = getattr(importlib.import_module(module), name)
    if isinstance(part, type):
        part = type("Mine", (part,), {})
    with pytest.raises(NotInTrackside, match=says):
        part()


def test_a_decorated_function_works_with_a_session_of_its_caller(acme):
    from airflow.utils.session import NEW_SESSION, create_session, provide_session

    from trackside.airflow.parts.serverside import NotInTrackside

    @provide_session
    def count(what, *, session=NEW_SESSION):
        return what, session

    assert count("x", session="mine") == ("x", "mine")
    with pytest.raises(NotInTrackside, match="count without a session"):
        count("x")
    with pytest.raises(NotInTrackside), create_session():
        pass


def test_mail_goes_to_everybody_and_blind_copies_stay_hidden(acme, tmp_path: Path):
    from airflow.utils.email import build_mime_message, get_email_address_list

    attached = tmp_path / "report.csv"
    attached.write_text("a,b")
    more = {"cc": "c@x", "bcc": ["d@x"], "custom_headers": {"X-A": "1"}}
    message, to = build_mime_message("me@x", "a@x; b@x", "Hello", "<b>hi</b>", [str(attached)], **more)
    assert to == ["a@x", "b@x", "c@x", "d@x"] and message["To"] == "a@x, b@x" and message["CC"] == "c@x" and message["X-A"] == "1"
    assert "d@x" not in message.as_string() and 'filename="report.csv"' in message.as_string()
    with pytest.raises(TypeError):
        get_email_address_list([1])


def test_an_installed_common_compat_goes_before_the_names_that_stand_in_for_it(acme, tmp_path: Path):
    package = tmp_path / "airflow" / "providers" / "common" / "compat"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "sdk.py").write_text("BaseHook = 'the real one'\n")
    bridge.uninstall()
    bridge.install()
    from airflow.providers.common.compat.sdk import BaseHook
    from airflow.providers.standard.operators.bash import BashOperator

    assert BaseHook == "the real one" and BashOperator.__module__.startswith("trackside")


def test_an_operator_that_mixes_in_skipping_is_known_as_one_that_branches(acme):
    from airflow.sdk import DAG, BaseOperator
    from airflow.sdk.bases.skipmixin import SkipMixin

    from trackside.sdk.serialization import task_spec

    class Choose(BaseOperator, SkipMixin):
        pass

    with DAG("d", schedule=None) as dag:
        chooses, plain = Choose(task_id="chooses"), BaseOperator(task_id="plain")
    assert task_spec(chooses, dag).skips == "branch" and task_spec(plain, dag).skips is None
