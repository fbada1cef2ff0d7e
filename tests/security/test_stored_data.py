"""S1, S5, S29: data starts no code. Values that name classes, functions and pickles stay values on every route that stores them; messages
of a broker are references in JSON; what is installed is what was listed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from apps.access.tests.resthelp import Api
from apps.runs.tests import support
from apps.runs.tests.restworld import make_dag, make_run
from apps.runs.tests.support import Worker, woken  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
NAMES = [
    "os.system", "subprocess.Popen", "builtins.eval", "posix.system", "pickle.loads", "canary_module.run", "airflow.models.dag.DAG",
    "timeit.timeit",
]  # fmt: skip
SHAPES: list[Any] = [
    lambda n: {"__classname__": n, "__version__": 1, "__data__": {"args": ["touch /tmp/canary"]}},
    lambda n: {"__type": n, "__var": {"command": "touch /tmp/canary"}},
    lambda n: {"__type": "airflow_exc_ser", "__var": {"exc_cls_name": n, "args": ["x"], "kwargs": {}}},
    lambda n: {"__type": "base_trigger", "__var": [n, {"command": "x"}]},
    lambda n: {"py/reduce": [{"py/function": n}, {"py/tuple": ["touch /tmp/canary"]}]},
    lambda n: {"py/object": n, "py/newargs": ["x"]},
    lambda n: {"__class__": n, "__reduce__": [n, ["x"]]},
    lambda n: f"!!python/object/apply:{n} ['touch /tmp/canary']",
    lambda n: f"cos\nsystem\n(S'{n}'\ntR.",
    lambda n: "gASVHwAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjARjYW5hlIWUUpQu" + n,
    lambda n: {"classpath": n, "kwargs": {"cmd": "x"}},
    lambda n: {"$type": n, "_type": n, "module": n.partition(".")[0], "class": n},
]
CORPUS = [shape(name) for shape in SHAPES for name in NAMES]
FORBIDDEN = (
    "pickle.find_class", "marshal.loads", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork",
    "exec", "compile", "import",
)  # fmt: skip


class Hook:
    """An audit hook can never be taken off again; this one sleeps until it is armed, and hears the arming thread only."""

    heard: list[str] = []
    thread: int | None = None
    installed = False

    @classmethod
    @contextmanager
    def armed(cls) -> Iterator[list[str]]:
        if not cls.installed:
            sys.addaudithook(cls.hear)
            cls.installed = True
        cls.heard = []
        cls.thread = threading.get_ident()
        try:
            yield cls.heard
        finally:
            cls.thread = None

    @classmethod
    def hear(cls, event: str, args: tuple[Any, ...]) -> None:
        if cls.thread is None or cls.thread != threading.get_ident() or event not in FORBIDDEN:
            return
        cls.heard.append(f"{event} {str(args[0])[:80]}")


def round_of_calls(value: Any, number: int) -> list[int]:
    """Store the value wherever a value may be stored, and look at all of it."""
    api, at = Api(), "/dags/d/dagRuns/r/taskInstances/first/xcomEntries"
    made = [
        api.call("POST", at, {"key": f"k{number}", "value": value, "map_index": -1}),
        api.call("PATCH", f"{at}/k{number}", {"value": [value], "map_index": -1}),
        api.call("POST", "/dags/d/dagRuns", {"dag_run_id": f"n{number}", "logical_date": None, "conf": {"x": value}}),
        api.call("POST", "/variables", {"key": f"v{number}", "value": value}),
        api.call("POST", "/connections", {"connection_id": f"c{number}", "conn_type": "http", "extra": json.dumps({"x": value})}),
        api.call("PATCH", "/dags/d/dagRuns/r", {"note": json.dumps(value)[:900]}),
        api.call("GET", f"{at}/k{number}"), api.call("GET", f"{at}/k{number}?deserialize=true"),
        api.call("GET", f"{at}/k{number}?stringify=true"),
        api.call("GET", f"/dags/d/dagRuns/n{number}"), api.call("GET", f"/variables/v{number}"), api.call("GET", f"/connections/c{number}"),
    ]  # fmt: skip
    pages = Client()
    pages.force_login(api.user)
    shown = ("r/tasks/first?tab=xcom", "r/tasks/first?tab=rendered", f"n{number}")
    made += [pages.get(f"/dags/d/runs/{address}") for address in shown]
    return [a.status_code for a in made]


@pytest.mark.django_db
def test_s1_no_stored_value_imports_unpickles_or_starts_anything():
    make_run(make_dag("d"), "r")
    ordinary = {"rows": [1, 2.5, None, True, "text"], "deep": {"er": ["x"]}}
    assert round_of_calls(ordinary, 0)[0] == 201
    round_of_calls([shape("nowhere.at_all") for shape in SHAPES], 1)  # what is imported when it is first needed has been imported now
    with Hook.armed() as heard:
        statuses = [s for n, value in enumerate([*CORPUS[:: len(NAMES) + 1], CORPUS], 2) for s in round_of_calls(value, n)]
    assert [s for s in statuses if s >= 500] == [] and statuses.count(201) > 20
    assert heard == []


@pytest.mark.django_db
def test_s1_no_value_of_a_task_runs_anything_in_the_scheduler_or_the_execution_api():
    def play(value: Any, dag_id: str) -> str:
        run = support.run(support.dag(support.chain("a", "b"), dag_id), day=2, conf={"x": value})
        worker = Worker()
        xcom = {"key": "return_value", "value": value}
        worker.do(run, "a", xcoms=[xcom, {"key": "other", "value": [value]}])
        worker.do(run, "b")
        return support.state(run)

    play({"rows": [1]}, "warm")
    with Hook.armed() as heard:
        assert play(CORPUS, "hostile") == "success"
    assert heard == []


def test_s1_the_hook_hears():
    import pickle

    with Hook.armed() as heard:
        eval("1 + 1")
        pickle.loads(pickle.dumps(Path("x")))
    assert any(h.startswith("compile") for h in heard) and any(h.startswith("pickle.find_class") for h in heard)


def test_s5_a_broker_carries_json_only_and_nothing_comes_back():
    celery = pytest.importorskip("celery")
    from kombu.exceptions import ContentDisallowed
    from kombu.serialization import dumps, loads

    from trackside.executors.celery.app import TASK, make_app

    app = make_app({"TRACKSIDE_CELERY_BROKER_URL": "memory://"})
    assert (app.conf.task_serializer, app.conf.accept_content, app.conf.result_backend) == ("json", ["json"], None)
    assert celery and TASK == "trackside.run_try"
    kind, encoding, body = dumps({"x": 1}, serializer="pickle")
    with pytest.raises(ContentDisallowed):
        loads(body, kind, encoding, accept=set(app.conf.accept_content))


@pytest.mark.django_db
@pytest.mark.parametrize("forged", [["00000000-0000-0000-0000-000000000007"], ["x"], ["'; DROP TABLE runs_try"], [{"a": 1}], [None]])
def test_s5_a_message_that_names_no_queued_try_of_its_executor_starts_nothing(forged):
    run = support.run(support.dag(support.chain("a")), day=2)
    ours = str(support.ti(run, "a").try_id)
    worker = Worker()
    answer = worker.exchange(wanted=forged, executor="celery")
    assert answer.start == []
    answer = worker.exchange(wanted=[ours], executor="celery")  # queued, but for another executor
    assert answer.start == [] and support.ti(run, "a").state == "queued"


def test_s29_every_package_is_pinned_and_none_comes_from_elsewhere():
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-build.txt"):
        lines = [x.strip() for x in (ROOT / name).read_text(encoding="utf-8").splitlines()]
        wishes = [x for x in lines if x and not x.startswith(("#", "-e ./platform", "-r requirements"))]
        assert len(wishes) > 5
        assert [x for x in wishes if not re.match(r"^[A-Za-z0-9._-]+(\[[A-Za-z0-9._,-]+\])?==[A-Za-z0-9.+!]+(\s*;.*)?(\s+#.*)?$", x)] == []
        assert not re.search(r"--(extra-)?index-url|--trusted-host|git\+|https?://", "\n".join(wishes))


def test_s29_every_pin_has_the_hashes_of_its_files_and_nothing_is_installed_without():
    for name in ("requirements", "requirements-dev", "requirements-build"):
        pins = {
            x.split(";")[0].strip() for x in (ROOT / f"{name}.txt").read_text(encoding="utf-8").splitlines() if re.match(r"[\w.-]+==", x)
        }
        locked = re.findall(
            r"^([\w.-]+==\S+)[^\n\\]*\\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", (ROOT / f"{name}.lock").read_text(), re.M
        )
        assert {pin for pin, _hashes in locked} == pins, f"{name}.txt was changed: `make lock` writes {name}.lock anew"
    installs = [line for line in (ROOT / "tools/environment").read_text().splitlines() if "pip install" in line]
    assert installs and all("--require-hashes" in line or '"${project[@]}"' in line for line in installs)


def test_s29_a_package_with_another_hash_is_not_installed(tmp_path: Path):
    """The attack: the index hands out another file under a pinned version."""
    wheel = tmp_path / "index" / "harmless-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as made:
        made.writestr("harmless.py", "")
        made.writestr("harmless-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: harmless\nVersion: 1.0\n")
        made.writestr("harmless-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        made.writestr("harmless-1.0.dist-info/RECORD", "")
    tools = tmp_path / "checkout" / "tools"
    tools.mkdir(parents=True)
    shutil.copy(ROOT / "tools/environment", tools)
    (tools.parent / "requirements-build.lock").write_text("")
    settings = {"UV_FIND_LINKS": str(wheel.parent), "PIP_FIND_LINKS": str(wheel.parent), "UV_NO_INDEX": "1", "PIP_NO_INDEX": "1"}

    def installed(digest: str) -> tuple[bool, str]:
        (tools.parent / "requirements.lock").write_text(f"harmless==1.0 --hash=sha256:{digest}\n")
        command = [tools / "environment", "requirements.txt"]
        done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode != 0  # at the latest for want of the project itself
        return bool(list(tools.parent.glob(".venv/lib/python*/site-packages/harmless.py"))), done.stdout + done.stderr

    there, said = installed("0" * 64)
    assert not there and "harmless" in said and "hash" in said.lower()
    there, said = installed(hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert there, said


def test_s29_the_bill_of_materials_names_every_package_with_the_hashes_that_are_known():
    done = subprocess.run([sys.executable, str(ROOT / "tools/bill_of_materials.py")], capture_output=True, text=True, check=True)
    bill = json.loads(done.stdout)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    parts = {part["purl"]: part for part in bill["components"]}
    assert len(parts) == len(bill["components"])
    wishes = [x for x in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines() if "==" in x and not x.startswith("#")]
    assert sum(purl.startswith("pkg:pypi/") for purl in parts) == len(wishes)
    django = next(x for x in wishes if x.lower().startswith("django==")).partition("==")[2].split()[0]
    assert f"pkg:pypi/django@{django}" in parts
    lock = json.loads((ROOT / "frontend/package-lock.json").read_text(encoding="utf-8"))["packages"]
    shipped = {place.rpartition("node_modules/")[2] for place, package in lock.items() if place and not package.get("dev")}
    of_npm = [part for part in parts.values() if part["purl"].startswith("pkg:npm/")]
    assert {part["name"] for part in of_npm if part["scope"] == "required"} == shipped != set()
    assert all(len(part["hashes"][0]["content"]) == 128 for part in of_npm if part["scope"] == "required")
