"""The processor's loop on a real folder, a real parse server and a real database; only the SDK's loader is a stand-in."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings as site
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.access.audit import SYSTEM
from apps.access.models import Connection, Variable
from apps.dags import catalogue, hooks, known, processor
from apps.dags.models import Dag, DagFile, DagVersion, ImportProblem
from apps.dags.processor import Processor
from trackside.runner import procs
from trackside.runner.parsing import ParseSettings

pytestmark = pytest.mark.django_db
LOADER = '''
import runpy, types

def load_file(path, dags_folder):
    import sys
    sys.path.insert(0, dags_folder)
    names = runpy.run_path(path)
    for dag in names.get("DAGS", []):
        dag.setdefault("fileloc", path)
    return types.SimpleNamespace(dags=names.get("DAGS", []), errors=[], warnings=[])
'''


def dag_file(*dag_ids: str, extra: str = "") -> str:
    """Source with the words the heuristic wants."""
    return f"# airflow dag\n{extra}\nDAGS = {[{'dag_id': i} for i in dag_ids]!r}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dags").mkdir()
    return tmp_path / "dags"


@pytest.fixture
def make(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Processor]]:
    """Processors with short intervals, closed at the end."""
    (tmp_path / "stand_in_loader.py").write_text(LOADER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    made = []

    def build(**changes: object) -> Processor:
        parse = ParseSettings(
            str(folder),
            timeout=5,
            memory_mb=200,
            loader="stand_in_loader:load_file",
            preload=[],
            preload_below=[],
            bridge=None,
            primer=False,
        )
        values = {"scan_interval": 0.05, "reparse_interval": 1000.0, "watch": False, "processes": 2, "share": 100.0, **changes}
        made.append(Processor(folder, parse=parse, **values))
        return made[-1]

    yield build
    for p in made:
        p.close()


def settle(*processors: Processor, until: Callable[[], bool] | None = None, seconds: float = 20.0) -> None:
    """Step until nothing is left to do (and `until` holds)."""
    give_up = time.monotonic() + seconds
    for p in processors:
        p.hint()
    while True:
        for p in processors:
            p.step(0.01)
        if all(p.idle for p in processors) and (until is None or until()):
            return
        assert time.monotonic() < give_up


def living() -> list[str]:
    return sorted(Dag.objects.filter(is_stale=False).values_list("dag_id", flat=True))


def test_new_changed_and_deleted_files_reach_the_catalogue(make, folder) -> None:
    (folder / "sub").mkdir()
    (folder / "one.py").write_text(dag_file("a"))
    (folder / "sub/two.py").write_text(dag_file("b", "c"))
    (folder / "helper.py").write_text("x = 1")
    p = make()
    settle(p)
    assert living() == ["a", "b", "c"]
    assert sorted(DagFile.objects.values_list("relative_path", flat=True)) == ["one.py", "sub/two.py"]
    (folder / "one.py").write_text(dag_file("a", "d"))
    settle(p, until=lambda: living() == ["a", "b", "c", "d"])
    (folder / "one.py").unlink()
    settle(p, until=lambda: living() == ["b", "c"])
    assert not DagFile.objects.filter(relative_path="one.py").exists()
    assert Dag.objects.get(pk="a").is_stale


def test_a_dag_taken_out_of_its_file_is_stale_after_a_second_look(make, folder) -> None:
    (folder / "one.py").write_text(dag_file("a", "b"))
    p = make()
    settle(p)
    parsed = p.counters["parsed"]
    (folder / "one.py").write_text(dag_file("b"))
    settle(p, until=lambda: living() == ["b"])
    assert p.counters["parsed"] >= parsed + 2


def test_an_emptied_file_is_parsed_before_its_dags_are_given_up(make, folder) -> None:
    (folder / "one.py").write_text(dag_file("a"))
    p = make()
    settle(p)
    (folder / "one.py").write_text("")
    settle(p, until=lambda: living() == [])


def test_a_broken_file_keeps_its_dags_and_shows_why_until_it_is_mended(make, folder) -> None:
    (folder / "one.py").write_text(dag_file("a"))
    p = make()
    settle(p)
    (folder / "one.py").write_text(dag_file("a", extra="import nothing_of_that_name"))
    settle(p, until=lambda: ImportProblem.objects.exists())
    assert living() == ["a"]
    assert Dag.objects.get().has_import_errors
    (folder / "nothing_of_that_name.py").write_text("")  # what it lacked appears
    settle(p, until=lambda: not ImportProblem.objects.exists())
    assert not Dag.objects.get().has_import_errors


def test_a_changed_helper_module_makes_its_users_parsed_again(make, folder) -> None:
    (folder / "names.py").write_text("NAME = 'a'")
    (folder / "one.py").write_text("# airflow dag\nfrom names import NAME\nDAGS = [{'dag_id': NAME}]")
    p = make()
    settle(p, until=lambda: living() == ["a"])
    (folder / "names.py").write_text("NAME = 'b'")
    settle(p, until=lambda: living() == ["b"])


def test_an_unchanged_file_costs_two_statements_for_all_files_together(make, folder) -> None:
    for n in range(5):
        (folder / f"f{n}.py").write_text(dag_file(f"d{n}"))
    p = make(reparse_interval=3.0)
    settle(p)
    stored, before = p.counters["stored"], DagFile.objects.earliest("last_parsed_at").last_parsed_at
    p._next_scan = time.monotonic() + 1000  # no scan in between
    with CaptureQueriesContext(connection) as captured:
        give_up = time.monotonic() + 20
        while p.counters["unchanged"] < 5 or p._touched:
            p.step()
            assert time.monotonic() < give_up
    assert p.counters["stored"] == stored
    assert DagFile.objects.earliest("last_parsed_at").last_parsed_at > before
    statements = [q["sql"] for q in captured]
    assert sum(s.startswith("UPDATE") for s in statements) <= 4
    assert Dag.objects.earliest("last_parsed_time").last_parsed_time > before


def test_rows_that_somebody_deleted_come_back_with_the_next_periodic_parse(make, folder) -> None:
    (folder / "one.py").write_text(dag_file("a"))
    p = make(reparse_interval=2.5)
    settle(p)
    Dag.objects.all().delete()
    settle(p, until=lambda: living() == ["a"])
    DagFile.objects.all().delete()
    settle(p, until=lambda: Dag.objects.filter(file__isnull=False).exists())


def test_a_requested_file_is_parsed_although_it_did_not_change(make, folder) -> None:
    (folder / "one.py").write_text(dag_file("a"))
    p = make()
    settle(p)
    file = DagFile.objects.get()
    stored = p.counters["stored"]
    catalogue.request_parse(file, actor=SYSTEM)
    settle(p, until=lambda: DagFile.objects.get().reparse_requested_at is None)
    assert p.counters["stored"] == stored + 1


def test_requested_files_go_first_then_changed_ones_then_periodic_ones() -> None:
    register = known.Register(Path("/dags"), 30.0)
    for n, priority in enumerate((known.PERIODIC, known.CHANGED, known.ASKED, known.CHANGED)):
        file = register._add(known.Known(f"/dags/{n}.py", f"{n}.py", pk=n + 1))
        register.enqueue(file, priority)
    order = []
    while (taken := register.take(set())) is not None:
        order.append(taken[0].relative)
    assert order == ["2.py", "1.py", "3.py", "0.py"]


def test_files_of_a_folder_that_vanished_or_emptied_at_once_are_not_given_up(make, folder, tmp_path, caplog) -> None:
    for n in range(6):
        (folder / f"f{n}.py").write_text(dag_file(f"d{n}"))
    p = make()
    settle(p)
    folder.rename(tmp_path / "away")
    scans = p.counters["scans"]
    settle(p, until=lambda: p.counters["scans"] > scans + 5)
    assert "cannot be read" in caplog.text
    folder.mkdir()  # unmounted: there, but empty
    scans = p.counters["scans"]
    settle(p, until=lambda: p.counters["scans"] > scans + 5)
    assert len(living()) == 6
    folder.rmdir()
    (tmp_path / "away").rename(folder)
    settle(p)
    assert len(living()) == 6 and DagFile.objects.count() == 6


def test_a_processor_that_starts_anew_does_not_parse_what_was_parsed_a_moment_ago(make, folder) -> None:
    (folder / "one.py").write_text(dag_file("a"))
    settle(make())
    (folder / "two.py").write_text(dag_file("b"))
    again = make()
    settle(again)
    assert again.counters["parsed"] == 1
    assert living() == ["a", "b"]


def test_two_processors_agree_about_a_dag_id_in_two_files(make, folder) -> None:
    (folder / "one.py").write_text(dag_file("a"))
    (folder / "two.py").write_text(dag_file("a", "b"))
    first, second = make(reparse_interval=3.0), make(reparse_interval=3.0)
    settle(first, second)
    owner = Dag.objects.get(pk="a").file.relative_path
    loser = ImportProblem.objects.get()
    versions = DagVersion.objects.count()
    parsed = first.counters["parsed"] + second.counters["parsed"]
    settle(first, second, until=lambda: first.counters["parsed"] + second.counters["parsed"] >= parsed + 4)
    assert (Dag.objects.get(pk="a").file.relative_path, ImportProblem.objects.get().pk) == (owner, loser.pk)
    assert DagVersion.objects.count() == versions
    (folder / owner).unlink()
    settle(first, second, until=lambda: not ImportProblem.objects.exists())
    assert Dag.objects.get(pk="a").file.relative_path == loser.file.relative_path
    assert "a" in living()


def test_hostile_files_are_import_errors_and_the_others_are_there(make, folder) -> None:
    (folder / "good.py").write_text(dag_file("good"))
    (folder / "bom.py").write_bytes(b"\xef\xbb\xbf" + dag_file("bom").encode())
    (folder / "crlf.py").write_bytes(dag_file("crlf").replace("\n", "\r\n").encode())
    (folder / "latin.py").write_bytes(b"# -*- coding: latin-1 -*-\n" + dag_file("latin", extra="x = 'é'").encode("latin-1"))
    (folder / "nul.py").write_bytes(dag_file("nul").encode() + b"\0")
    (folder / "not_utf8.py").write_bytes(dag_file("no", extra="x = 'é'").encode("latin-1"))
    (folder / "empty.py").write_bytes(b"")
    (folder / "broken.zip").write_bytes(b"PK airflow dag")
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("dag.py", b"\0" * (20 << 20))
    (folder / "loop.py").symlink_to(folder / "loop.py")
    (folder / "folder.py").mkdir()
    (folder / "exits.py").write_text(dag_file("e", extra="import os; os._exit(0)"))
    (folder / "dies.py").write_text(dag_file("d", extra="import os; os.kill(os.getpid(), 9)"))
    (folder / "long.py").write_text(dag_file("x" * 300))
    settle(make())
    assert living() == ["bom", "crlf", "good", "latin"]
    bad = set(ImportProblem.objects.values_list("file__relative_path", flat=True))
    assert bad == {"nul.py", "not_utf8.py", "broken.zip", "bomb.zip", "loop.py", "exits.py", "dies.py", "long.py"}


def test_variables_and_connections_can_be_read_at_the_top_of_a_file(make, folder) -> None:
    Variable.objects.create(key="colour", value="blue")
    Connection.objects.create(conn_id="db", conn_type="postgres", password="pw")
    (folder / "one.py").write_text(
        "# airflow dag\nfrom trackside.sdk.execution import current\n"
        "def ask(p): return current.comms().request('GET', p)[1]\n"
        "names = [ask('/variables/colour')['value'], ask('/connections/db')['password'], *ask('/variables')['keys']]\n"
        "DAGS = [{'dag_id': '-'.join(names) + str('detail' in ask('/variables/none'))}]"
    )
    settle(make(), until=lambda: living() == ["blue-pw-colourTrue"])


def test_a_timetable_of_the_users_is_asked_with_the_last_run(make, folder) -> None:
    """The stand-in hands out specs, not DAGs, so here only what is sent is looked at."""
    from trackside.core.timetables import DataInterval

    file = DagFile.objects.create(relative_path="x.py", path="/x.py")
    timetable = {"kind": "asset_or_time", "timetable": {"kind": "custom", "classpath": "x.Mine"}}
    Dag.objects.create(dag_id="a", dag_display_name="a", fileloc="/x.py", file=file, timetable=timetable)
    Dag.objects.create(dag_id="b", dag_display_name="b", fileloc="/x.py", file=file, timetable={"kind": "null"})
    at = timezone.now()
    hooks.register(last_automated_interval=lambda dag_id: DataInterval(at, at))
    assert processor.plan_for(known.Known("/x.py", "x.py", pk=file.pk)) == {"a": [at.isoformat()] * 2}


def test_a_lost_database_is_a_pause_not_an_end(make, folder, monkeypatch, caplog) -> None:
    (folder / "one.py").write_text(dag_file("a"))
    p = make()
    real, calls = catalogue.store_parse_result, []

    def flaky(*args, **kwargs):
        calls.append(1)
        if len(calls) == 1:
            raise OperationalError("server closed the connection")
        stored = real(*args, **kwargs)
        p.stop()
        return stored

    monkeypatch.setattr(catalogue, "store_parse_result", flaky)
    monkeypatch.setattr(connection, "close", lambda: None)  # the test's transaction is in it
    with caplog.at_level(logging.WARNING):
        p.run()
    assert living() == ["a"]
    assert "server closed the connection" in caplog.text


def test_beats_come_through_the_hook(make, folder) -> None:
    beats = []
    hooks.register(process_beat=lambda kind, info: beats.append((kind, info["files"])))
    (folder / "one.py").write_text(dag_file("a"))
    settle(make())
    assert beats == [("dag_processor", 0)]


@pytest.mark.django_db(transaction=True)
def test_the_command_sees_changes_by_notification_and_ends_at_sigterm_without_leftovers(folder, tmp_path) -> None:
    """A scan interval of ten minutes: only the notification can have told it. The file being parsed then dies with it."""
    slow = folder / "slow.py"
    slow.write_text(dag_file("slow", extra="import subprocess; subprocess.run(['sleep', '1000'], start_new_session=True)"))
    environment = {
        **os.environ,
        "DATABASE_URL": database_url(),
        "TRACKSIDE_HOME": str(tmp_path / "home"),
        "TRACKSIDE_DAGS_FOLDER": str(folder),
        "TRACKSIDE_SCAN_INTERVAL": "600",
        "TRACKSIDE_PARSE_TIMEOUT": "300",
    }
    process = subprocess.Popen([sys.executable, "manage.py", "dag_processor"], cwd=site.ROOT, env=environment)
    try:
        eventually(lambda: "sleep" in [command(p) for p in procs.descendants(process.pid)])
        sample = "from airflow.sdk import DAG\nwith DAG('told', schedule=None): pass\n"
        eventually(lambda: put_again(folder / "new.py", sample) and Dag.objects.filter(pk="told").exists())
        below = procs.descendants(process.pid)
        assert len(below) >= 3
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        eventually(lambda: not any(procs.is_running(p) for p in below))
    finally:
        process.kill()
        process.wait()
    shutil.rmtree(folder)


def put_again(path: Path, text: str) -> bool:
    """Write a file, again and again: the watch may begin after the first time."""
    if not path.exists() or time.time() - path.stat().st_mtime > 3:
        path.write_text(text)
    return True


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def database_url() -> str:
    """The test database, for another process."""
    s = connection.settings_dict
    from urllib.parse import quote

    host = quote(str(s["HOST"]), safe="")
    if str(s["HOST"]).startswith("/"):
        return f"postgresql://{quote(s['USER'])}:{quote(s['PASSWORD'])}@:{s['PORT']}/{s['NAME']}?host={host}"
    return f"postgresql://{quote(s['USER'])}:{quote(s['PASSWORD'])}@{host}:{s['PORT']}/{s['NAME']}"


def test_counters_are_json() -> None:
    assert json.dumps(Processor(Path("/nowhere"), watch=False).counters)


def test_a_large_folder_is_gone_through_again_more_slowly():
    register = known.Register(Path("/dags"), reparse_interval=30.0, share=0.02)
    for i in range(500):
        register._add(known.Known(f"/dags/{i}.py", f"{i}.py", pk=i, duration=0.02))
    assert register.pause == pytest.approx(500.0)
    assert known.Register(Path("/dags"), reparse_interval=30.0).pause == 30.0
