"""The import bridge: Airflow's names are Trackside's classes, what is missing says so, provider packages still import."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import trackside.airflow as bridge
from trackside.airflow.names import MODULES
from trackside.sdk.dag import DAG
from trackside.sdk.operators.bash import BashOperator


@pytest.fixture(autouse=True)
def installed():
    was = bridge.is_installed()
    bridge.install()
    yield
    if not was:
        bridge.uninstall()


def test_old_and_new_paths_give_the_same_class():
    from airflow import DAG as short
    from airflow.models import DAG as old
    from airflow.models.dag import DAG as older
    from airflow.sdk import DAG as new

    assert {short, old, older, new} == {DAG}


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("airflow.decorators", "task"),
        ("airflow.models", "Variable"),
        ("airflow.models.baseoperator", "chain"),
        ("airflow.operators.python", "PythonOperator"),
        ("airflow.operators.empty", "EmptyOperator"),
        ("airflow.providers.standard.operators.python", "ShortCircuitOperator"),
        ("airflow.providers.standard.operators.latest_only", "LatestOnlyOperator"),
        ("airflow.utils.trigger_rule", "TriggerRule"),
        ("airflow.utils.task_group", "TaskGroup"),
        ("airflow.utils.edgemodifier", "Label"),
        ("airflow.utils.timezone", "utcnow"),
        ("airflow.utils.state", "State"),
        ("airflow.utils.types", "DagRunType"),
        ("airflow.utils.helpers", "merge_dicts"),
        ("airflow.exceptions", "AirflowSkipException"),
        ("airflow.sdk.exceptions", "AirflowFailException"),
        ("airflow.hooks.base", "BaseHook"),
        ("airflow.configuration", "conf"),
        ("airflow.macros", "ds_add"),
        ("airflow.timetables.trigger", "CronTriggerTimetable"),
        ("airflow.sdk.definitions.timetables.assets", "PartitionedAssetTimetable"),
        ("airflow.partition_mappers", "StartOfWeekMapper"),
        ("airflow.decorators.setup_teardown", "context_wrapper"),
        ("airflow.sdk.definitions.decorators.setup_teardown", "ContextWrapper"),
        ("airflow.partition_mappers.base", "RollupMapper"),
        ("airflow.sdk.definitions.partition_mappers.wait_policy", "WaitPolicy"),
        ("airflow.sdk.definitions._internal.types", "NOTSET"),
        ("airflow.sdk.execution_time.xcom", "XCom"),
        ("airflow.sdk.bases.decorator", "DecoratedOperator"),
    ],
)
def test_names_that_files_import_are_there(module, name):
    assert getattr(importlib.import_module(module), name) is not None


def test_the_version_is_the_one_whose_behaviour_is_offered():
    import airflow
    from airflow.version import version

    assert airflow.__version__ == version == "3.3.2"


def test_a_submodule_can_be_imported_as_a_name():
    from airflow.utils import timezone

    assert timezone.parse("2024-05-06").isoformat() == "2024-05-06T00:00:00+00:00"


@pytest.mark.parametrize(
    "statement",
    [
        "from airflow.sdk import NoSuchName",
        "import airflow.no_such_module",
        "from airflow.models import NoSuchModel",
        "from airflow.utils.state import NoSuchState",
        "import airflow.providers.nosuch.hooks.x",
    ],
)
def test_what_is_missing_fails_with_one_sentence(statement):
    with pytest.raises(ImportError, match=r"^airflow\.\S+ is not available in Trackside yet; [^\n]+\.$"):
        exec(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "from airflow.sdk.serde import serialize, deserialize, allow_class", "from airflow.sdk.observability import stats; stats.incr('a')",
        "from airflow.sdk.observability.stats import timer\nwith timer('a'): pass", "from airflow.sdk.io import get_fs, has_fs",
        "from airflow.sdk.bases.secrets_backend import BaseSecretsBackend", "from airflow.sdk.log import amask_secret, mask_secret",
        "from airflow.sdk.exceptions import NodeNotFound, TaskAlreadyRunningError", "from airflow.sdk.yaml import safe_load, dump",
        "from airflow.sdk.definitions.asset.access_control import AssetAccessControl", "import airflow.sdk; airflow.sdk.__version__",
    ],
)  # fmt: skip
def test_names_that_only_few_files_use(statement):
    exec(statement, {})


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("from airflow.operators.bash import BashOperatr", "airflow.operators.bash has no BashOperatr; perhaps BashOperator is meant."),
        ("from airflow.models import Varible", "airflow.models has no Varible; perhaps Variable is meant."),
        ("from airflow.sdk import tsk", "airflow.sdk has no tsk; perhaps task is meant."),
    ],
)
def test_a_name_that_is_nearly_right_is_told_the_right_one(statement, said):
    with pytest.raises(ImportError) as raised:
        exec(statement, {})
    assert str(raised.value).endswith(said)


def test_asking_whether_a_name_is_there_does_not_raise():
    import airflow.sdk

    assert not hasattr(airflow.sdk, "no_such_name")
    assert getattr(airflow.sdk, "no_such_name", None) is None


def test_a_provider_package_on_the_path_is_found(tmp_path, monkeypatch):
    package = tmp_path / "airflow" / "providers" / "acme"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "hooks.py").write_text("from airflow.hooks.base import BaseHook\nclass AcmeHook(BaseHook): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    bridge.uninstall()
    bridge.install()
    from airflow.providers.acme.hooks import AcmeHook

    assert issubclass(AcmeHook, importlib.import_module("trackside.sdk.hooks").BaseHook)
    from airflow.providers import acme

    assert acme.__file__ == str(package / "__init__.py")


def test_where_the_real_airflow_is_installed_only_install_changes_anything(tmp_path):
    real = tmp_path / "airflow"
    real.mkdir()
    (real / "__init__.py").write_text("__version__ = 'real'\n")
    (real / "models.py").write_text("DAG = 'real'\n")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import trackside.airflow as bridge\n"
        "import airflow.models; assert airflow.models.DAG == 'real'\n"
        "bridge.install()\n"
        "import airflow; from airflow.models import DAG; assert airflow.__version__ == '3.3.2' and DAG != 'real'\n"
        "bridge.uninstall()\n"
        "import airflow; assert airflow.__version__ == 'real'\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_installing_imports_nothing_of_the_sdk():
    code = (
        "import sys, trackside.airflow as b; b.install(); import airflow.models, airflow.providers.standard.operators.bash\n"
        "heavy = [m for m in sys.modules if m.startswith(('trackside.sdk', 'pendulum', 'jinja2'))]\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_preloading_brings_what_tasks_need():
    code = (
        "import sys, trackside.airflow as b; b.preload()\n"
        "for m in ('trackside.sdk.execution.run', 'trackside.sdk.operators.python', 'jinja2'): assert m in sys.modules, m\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_class_is_shown_under_the_name_files_import_it_by():
    assert bridge.public_module(BashOperator) == "airflow.providers.standard.operators.bash"
    assert bridge.public_module(DAG) == "airflow.sdk.definitions.dag"


NOT_YET = {
    *("sdk.storage", "sdk.resumable", "sdk.state_store"),
}
"""Targets that the table names ahead of their making."""


def test_every_other_target_of_the_table_exists():
    wrong = []
    for module, names in MODULES.items():
        for name, target in names.items():
            if not isinstance(target, str) or (":" not in target and name != "*"):
                continue
            holder, _, attribute = target.partition(":")
            try:
                found = importlib.import_module(f"trackside.{holder}")
            except ModuleNotFoundError:
                if holder not in NOT_YET:
                    wrong.append(f"{module}.{name}: no module {holder}")
                continue
            if attribute and not hasattr(found, attribute):
                wrong.append(f"{module}.{name}: {holder} has no {attribute}")
    assert wrong == []


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("core", "parallelism", "32"), ("operators", "default_owner", "airflow"), ("core", "max_map_length", "1024")],
)
def test_options_have_airflows_defaults(section, key, value):
    from airflow.configuration import conf

    assert conf.get(section, key) == value


def test_options_come_from_the_environment_first(monkeypatch):
    from airflow.configuration import conf
    from airflow.exceptions import AirflowConfigException

    monkeypatch.setenv("AIRFLOW__MY_SECTION__MY_KEY", "True")
    assert conf.getboolean("my_section", "my_key") is True
    assert conf.get("no", "such", fallback="f") == "f"
    with pytest.raises(AirflowConfigException, match=r"\[no/such\] not found"):
        conf.get("no", "such")
