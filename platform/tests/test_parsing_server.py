"""One file at a time through a real parse server, with a stand-in for the SDK's loader: limits, deaths, leftovers."""

from __future__ import annotations

import os
import signal
import textwrap
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from trackside.runner import procs
from trackside.runner.parsing import ParseResult, ParseServer, ParseServerFailed, ParseSettings
from trackside.runner.parsing.settings import clean_environment

LOADER = '''
"""Stands in for trackside.sdk.parsing: runs the file, takes its `DAGS` (specs)."""
import runpy, types

def load_file(path, dags_folder):
    names = runpy.run_path(path)
    return types.SimpleNamespace(dags=names.get("DAGS", []), errors=names.get("ERRORS", []), warnings=[])
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the stand-in loader, importable in the server."""
    folder = tmp_path_factory.mktemp("loader")
    (folder / "stand_in_loader.py").write_text(LOADER)
    return folder


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[ParseServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(place))
        patch.setenv("DATABASE_URL", "postgresql://secret@db/x")
        patch.setenv("TRACKSIDE_JWT_KEY", "secret")
        patch.setenv("AIRFLOW_VAR_COLOUR", "blue")
        it = ParseServer(stand_in(place))
        it.start()
    yield it
    it.close()


def stand_in(folder: Path, **changes: object) -> ParseSettings:
    """Settings for the stand-in loader, with short limits."""
    values: dict[str, object] = {"timeout": 3.0, "memory_mb": 200, "max_processes": 20, **changes}
    return ParseSettings(
        dags_folder=str(folder), loader="stand_in_loader:load_file", preload=["stand_in_loader"], preload_below=[],
        bridge=None, primer=False, **values
    )


@pytest.fixture
def parse(server: ParseServer, tmp_path: Path):
    """Parse a source text; nothing that it started is left when the result is there or soon after."""

    def run(source: str | bytes, name: str = "x.py") -> ParseResult:
        path = tmp_path / name
        path.write_bytes(source if isinstance(source, bytes) else textwrap.dedent(source).encode())
        return server.parse(str(path))

    yield run
    eventually(lambda: not procs.descendants(server.pid or 0))


def eventually(condition, seconds: float = 10.0) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def only_error(result: ParseResult) -> str:
    assert not result.dags
    assert len(result.errors) == 1, result.errors
    return result.errors[0].message


def test_a_file_gives_its_dags_with_source_and_hashes(parse) -> None:
    source = 'print("hello")\nDAGS = [{"dag_id": "a", "fileloc": __file__, "tags": ["x"]}]\n'
    first, second = parse(source), parse(source, "y.py")
    assert [d["dag_id"] for d in first.dags] == ["a"], first
    assert first.sources == {first.path: source}
    assert first.output == "hello\n"
    assert first.hashes == second.hashes  # where it lies is not part of the structure
    assert first.content_hash == second.content_hash != ""


def test_the_structure_hash_is_the_one_of_the_spec(parse) -> None:
    from trackside.core.spec import DagSpec, TaskSpec

    spec = DagSpec("a", fileloc="/x.py", tasks=[TaskSpec("t", params={"ü": {"value": 1.5}})])
    result = parse(f"DAGS = [{spec.to_dict()!r}]")
    assert result.hashes == {"a": spec.structure_hash()}


def test_a_changed_helper_module_is_seen_and_named(parse, server, tmp_path, place) -> None:
    helper = place / "helper_of_files.py"
    helper.write_text("VALUE = 'one'\n")
    source = "import helper_of_files\nDAGS = [{'dag_id': helper_of_files.VALUE}]"
    first = parse(source)
    helper.write_text("VALUE = 'two'\n")
    second = parse(source)
    assert [d["dag_id"] for d in first.dags + second.dags] == ["one", "two"]
    assert second.imports == [str(helper)]
    assert not (place / "__pycache__" / "helper_of_files.cpython-311.pyc").exists()


def test_secrets_are_not_in_the_environment_but_the_authors_own_variables_are(parse) -> None:
    result = parse("import os, json; print(json.dumps({k: v for k, v in os.environ.items() if k != 'PYTEST_CURRENT_TEST'}))")
    assert "secret" not in result.output
    assert "AIRFLOW_VAR_COLOUR" in result.output


def test_clean_environment_keeps_out_every_key_and_the_way_to_it() -> None:
    kept = clean_environment(
        {"PATH": "/bin", "DATABASE_URL_FILE": "x", "PGPASSWORD": "x", "TRACKSIDE_HOME": "x", "TRACKSIDE_FERNET_KEYS_FILE": "x",
         "DJANGO_SETTINGS_MODULE": "x", "TRACKSIDE_DAGS_FOLDER": "/dags",
         "AIRFLOW_CONN__RED___DB": "x", "TRACKSIDE_VAR__RED___V": "x", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "x"}
    )  # fmt: skip
    assert kept == {"PATH": "/bin", "TRACKSIDE_DAGS_FOLDER": "/dags", "TRACKSIDE_PLUGINS_FOLDER": "x/plugins"}


@pytest.mark.parametrize(
    ("source", "says", "line"),
    [
        ("x = 1\nimport nothing_of_that_name", "ModuleNotFoundError", 2),
        ("x = 1\n\nundefined", "NameError", 3),
        ("x = (", "SyntaxError", None),
        ("import sys\nsys.exit(3)", "sys.exit(3)", 2),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", 1),
        ("DAGS = [{'dag_id': 'a', 'x': float('nan')}]", "DAG a cannot be stored", None),
        ("DAGS = [{'dag_id': 'a', 'x': {1, 2}}]", "cannot be written as JSON", None),
        ("DAGS = [{'dag_id': 'a', 'x': 10**5000}]", "DAG a cannot be stored", None),
        ("DAGS = [{'dag_id': 'a', 'doc_md': 'x\\0y'}]", "doc_md contains a NUL", None),
        ("DAGS = [{'dag_id': 'a', 'doc_md': '\\ud800'}]", "surrogate", None),
        ("d = {'dag_id': 'a'}\nd['self'] = d\nDAGS = [d]", "DAG a cannot be stored", None),
    ],
)
def test_an_error_of_the_file_is_a_problem_with_its_line(parse, source, says, line) -> None:
    result = parse(source)
    assert says in only_error(result)
    assert result.errors[0].lineno == line
    assert result.errors[0].traceback


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("x = 1\nwhile True:\n    pass", None),
        ("import time\n\ntime.sleep(1e6)", 3),
        ("import re\nre.match(r'(a+)+$', 'a' * 60 + 'b')", 2),  # a loop in C that no signal handler interrupts
        ("import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))\nwhile True: pass", 3),
    ],
)
def test_a_file_that_never_returns_is_stopped_and_says_where(place, tmp_path, source, line, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(place))
    path = tmp_path / "x.py"
    path.write_text(source)
    server = ParseServer(stand_in(place, timeout=2.5))
    try:
        result = server.parse(str(path))
    finally:
        server.close()
    message = only_error(result)
    assert message.startswith("Parsing took longer than 2.5 s and was stopped")
    assert "TRACKSIDE_PARSE_TIMEOUT" in message
    assert line is None or f"at line {line}" in message
    assert result.errors[0].lineno is not None


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import os; os._exit(0)", "exit code 0 (os._exit or similar)"),
        ("import os; os._exit(7)", "exit code 7"),
        ("import os; os.kill(os.getpid(), 9)", "died (signal 9, SIGKILL)"),
        ("import ctypes; ctypes.string_at(0)", "died (signal 11, SIGSEGV) at line 1"),
        ("import os; os.abort()", "signal 6, SIGABRT"),
        ("import os; os.write(3, b'R' + b'\\xff' * 40)", "wrote into the parser's own pipe"),
    ],
)
def test_a_file_that_ends_its_process_says_how(parse, source, says) -> None:
    assert says in only_error(parse(source))


def test_too_much_memory_is_an_error_of_the_line_that_wants_it(parse) -> None:
    result = parse("x = 1\ny = bytearray(2 << 30)")
    assert "TRACKSIDE_PARSE_MEMORY_MB" in only_error(result)
    assert result.errors[0].lineno == 2


def test_memory_of_child_processes_counts_together(parse) -> None:
    message = only_error(
        parse(
            """
            import os, time
            for _ in range(5):
                if os.fork() == 0:
                    x = b"x" * (90 << 20)
                    time.sleep(60)
            time.sleep(60)
            """
        )
    )
    assert "more than 200 MB" in message


def test_too_many_processes_are_stopped(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(place))
    path = tmp_path / "x.py"
    path.write_text("import os, time\nfor _ in range(30):\n    if os.fork() == 0: break\ntime.sleep(1000)")
    server = ParseServer(stand_in(place, memory_mb=4000))
    try:
        assert "more than 20 processes" in only_error(server.parse(str(path)))
    finally:
        server.close()


def test_a_fork_bomb_is_stopped_and_leaves_nothing(parse) -> None:
    """Whichever limit it meets first: processes, memory of the whole tree, or, on a machine that it keeps busy, time."""
    message = only_error(parse("import os, time\nwhile True:\n    os.fork(); time.sleep(0.01)"))
    assert any(text in message for text in ("more than 20 processes", "MB of memory", "Parsing took longer")), message


def test_output_is_capped(parse) -> None:
    result = parse("for _ in range(300):\n    print('x' * 65536)\nDAGS = [{'dag_id': 'a'}]")
    assert [d["dag_id"] for d in result.dags] == ["a"]
    assert len(result.output) < 66_000
    assert "truncated: the file printed 19,661,100 bytes" in result.output


def test_ten_thousand_descriptors_are_an_error(parse) -> None:
    assert "Too many open files" in only_error(parse("files = [open('/dev/null') for _ in range(10_000)]"))


def test_threads_and_processes_left_behind_do_not_outlive_the_parse(parse, tmp_path) -> None:
    result = parse(
        """
        import os, subprocess, sys, threading, time
        threading.Thread(target=time.sleep, args=(1e6,)).start()
        subprocess.Popen(["sleep", "1000000"], start_new_session=True)
        if os.fork() == 0:  # forks twice, in a session of its own
            os.setsid()
            if os.fork() == 0:
                time.sleep(1e6)
            os._exit(0)
        DAGS = [{"dag_id": "a"}]
        """
    )
    assert [d["dag_id"] for d in result.dags] == ["a"]  # and the fixture waits until all of them are gone


def test_a_fork_that_comes_back_from_the_file_does_not_answer_for_it(parse) -> None:
    result = parse("import os\nx = os.fork()\nDAGS = [{'dag_id': 'child' if x == 0 else 'parent'}]\nif x: os.waitpid(x, 0)")
    assert [d["dag_id"] for d in result.dags] == ["parent"]


def test_utf8_with_bom_crlf_and_latin1_show_their_source(parse) -> None:
    assert list(parse(b"\xef\xbb\xbfDAGS = [{'dag_id': 'a'}]\r\n").sources.values()) == ["DAGS = [{'dag_id': 'a'}]\n"]
    latin = parse("# -*- coding: latin-1 -*-\nDAGS = [{'dag_id': 'a', 'description': 'é'}]\n".encode("latin-1"))
    assert "é" in next(iter(latin.sources.values()))


def test_an_unreadable_file_is_an_error(server, tmp_path) -> None:
    (tmp_path / "loop.py").symlink_to(tmp_path / "loop.py")
    assert "cannot be read" in only_error(server.parse(str(tmp_path / "loop.py")))
    assert "cannot be read" in only_error(server.parse(str(tmp_path / "gone.py")))


def test_broken_zip_and_zip_bomb_are_refused(parse, server, tmp_path) -> None:
    assert "cannot be opened" in only_error(parse(b"PK\x03\x04 nothing", "x.zip"))
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("dag.py", b"\0" * (20 << 20))
    assert "unpacks to 21 MB" in only_error(server.parse(str(bomb)))


def test_files_are_parsed_side_by_side(server, tmp_path) -> None:
    """The slow one waits until the quick one has run: in sequence it would time out."""
    (tmp_path / "slow.py").write_text(
        f"import os, time\nwhile not os.path.exists({str(tmp_path / 'flag')!r}): time.sleep(0.01)\nDAGS = [{{'dag_id': 'slow'}}]"
    )
    (tmp_path / "quick.py").write_text(f"open({str(tmp_path / 'flag')!r}, 'w').close()\nDAGS = [{{'dag_id': 'quick'}}]")
    wanted = {server.submit(str(tmp_path / "slow.py")), server.submit(str(tmp_path / "quick.py"))}
    found = {}
    while wanted - set(found):
        found.update(dict(server.receive(10)))
    assert sorted(d["dag_id"] for r in found.values() for d in r.result().dags) == ["quick", "slow"]


def test_equal_results_have_equal_fingerprints(server, tmp_path) -> None:
    def fingerprint(text: str) -> str:
        (tmp_path / "x.py").write_text(text)
        wanted = server.submit(str(tmp_path / "x.py"))
        while True:
            for found, reply in server.receive(10):
                assert found == wanted
                return reply.fingerprint

    one = fingerprint("DAGS = [{'dag_id': 'a'}]")
    assert one == fingerprint("DAGS = [{'dag_id': 'a'}]")
    assert one != fingerprint("DAGS = [{'dag_id': 'a'}]  # changed")


def test_a_killed_server_is_replaced_and_its_file_parsed_again(place, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(place))
    marker = tmp_path / "marker"
    (tmp_path / "x.py").write_text(
        f"import os, time\nif not os.path.exists({str(marker)!r}):\n    open({str(marker)!r}, 'w').close(); time.sleep(100)\n"
        "DAGS = [{'dag_id': 'a'}]"
    )
    server = ParseServer(stand_in(place, timeout=30))
    try:
        server.submit(str(tmp_path / "x.py"))
        eventually(marker.exists)
        first = server.pid or 0
        below = procs.descendants(first)
        os.kill(first, signal.SIGKILL)
        found = []
        while not found:
            found = server.receive(20)
        assert [d["dag_id"] for d in found[0][1].result().dags] == ["a"]
        assert server.pid != first
        eventually(lambda: not any(procs.is_running(pid) for pid in below))
    finally:
        server.close()


def test_closing_leaves_no_process(place, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(place))
    (tmp_path / "x.py").write_text("import subprocess\nsubprocess.run(['sleep', '1000'], start_new_session=True)")
    server = ParseServer(stand_in(place, timeout=30))
    server.submit(str(tmp_path / "x.py"))
    pid = server.pid or 0
    eventually(lambda: len(procs.descendants(pid)) == 2)
    below = procs.descendants(pid)
    server.close()
    assert not any(procs.is_running(p) for p in [pid, *below])


def test_a_server_that_cannot_start_says_so(tmp_path) -> None:
    server = ParseServer(ParseSettings(dags_folder=str(tmp_path), preload=["no_such_module_here"], bridge=None))
    with pytest.raises(ParseServerFailed, match="did not start"):
        server.start()


def test_variables_are_answered_by_the_processor_and_nothing_else_is_possible(place, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(place))
    (tmp_path / "x.py").write_text(
        "from trackside.sdk.execution import current\n"
        "def ask(*a): return current.comms().request(*a)\n"
        "DAGS = [{'dag_id': 'a', 'doc_md': str([ask('GET', '/variables/k'), ask('DELETE', '/variables/k')[0]])}]"
    )
    asked = []

    def answer(method, path, params):
        asked.append((method, path, params))
        return 200, {"value": "v"}

    server = ParseServer(stand_in(place), answer)
    try:
        result = server.parse(str(tmp_path / "x.py"))
    finally:
        server.close()
    assert result.dags[0]["doc_md"] == "[(200, {'value': 'v'}), 403]"
    assert asked == [("GET", "/variables/k", {})]
