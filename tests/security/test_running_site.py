"""S10, S21, S23: what the machine shows of a running site: no key and no token in what other accounts see of processes, none in the
processes of user code and in logs, and no file that others may read or change. And what only a real web process shows: the trail has
the addresses that requests came from.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.server import Server

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def worked(trackside: Server) -> Iterator[tuple[Server, str]]:
    """The site while a task runs, and the run."""
    trackside.unpause("hello")
    run_id = trackside.trigger("hello", {"seconds": 60})
    trackside.wait_log("2 of 60", "hello", run_id, "talk")
    yield trackside, run_id
    trackside.call("PATCH", f"/dags/hello/dagRuns/{run_id}", json={"state": "failed"})


def keys_of(site: Server) -> dict[str, bytes]:
    """Secrets of the home by file name."""
    found = {p.name: p.read_bytes().strip() for p in (site.home / "data" / "keys").iterdir() if p.is_file()}
    assert {"django.key", "fernet.keys", "jwt.key", "worker.token"} <= found.keys() and all(len(v) > 20 for v in found.values())
    return found


def read(path: str) -> bytes:
    """A file of /proc; nothing if the process has just ended."""
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def processes(site: Server) -> list[int]:
    """The whole tree."""
    top = psutil.Process(site.process.pid)
    return [top.pid, *(p.pid for p in top.children(recursive=True))]


def task_processes(site: Server) -> list[int]:
    """Those of user code: below the worker and the parse server, not the server's own."""
    own = {site.process.pid, *site.pids.values()}
    return [pid for name in ("worker", "dag_processor") if name in site.pids
            for pid in (p.pid for p in psutil.Process(site.pids[name]).children(recursive=True)) if pid not in own]  # fmt: skip


def test_s10_no_command_line_holds_a_key_or_a_token(worked: tuple[Server, str]) -> None:
    site, _ = worked
    pids = processes(site)
    lines = {pid: read(f"/proc/{pid}/cmdline") for pid in pids}
    assert sum(bool(line) for line in lines.values()) >= 8
    bearer = site.http.headers["Authorization"].removeprefix("Bearer ").encode()
    for name, secret in {**keys_of(site), "bearer": bearer}.items():
        assert [pid for pid, line in lines.items() if secret in line] == [], name


def test_s10_processes_of_user_code_are_not_given_keys_tokens_or_the_database(worked: tuple[Server, str]) -> None:
    site, _ = worked
    pids = task_processes(site)
    told = {pid: read(f"/proc/{pid}/environ") for pid in pids}
    assert any(told.values()), "there is a worker's fork server and the task of the run"
    for name, secret in keys_of(site).items():
        assert [pid for pid, text in told.items() if secret in text] == [], name
    assert [pid for pid, text in told.items() if b"DATABASE_URL=" in text] == []


def test_s10_no_log_and_no_answer_holds_a_key_or_a_token(worked: tuple[Server, str]) -> None:
    site, run_id = worked
    texts = [p.read_bytes() for p in [site.log, *(site.home / "data" / "logs").rglob("*")] if p.is_file()]
    texts += [str(site.get(path)).encode() for path in (f"/dags/hello/dagRuns/{run_id}/taskInstances", "/eventLogs")]
    assert sum(map(len, texts)) > 1000
    for name, secret in keys_of(site).items():
        assert not any(secret in text for text in texts), name


def test_s21_the_trail_says_from_where_a_change_was_asked_for(trackside: Server) -> None:
    """Django tells its receivers in a task of their own that a request began; what they note there never reaches the views."""
    for key, forwarded in (("asked-from-afar", "203.0.113.9"), ("asked-from-here", "")):
        headers = {"X-Forwarded-For": forwarded} if forwarded else {}
        trackside.call("POST", "/variables", json={"key": key, "value": "v"}, headers=headers)
    with httpx.Client(base_url=trackside.url, trust_env=False, follow_redirects=True, timeout=60) as pages:
        form = pages.get("/login").text
        proof = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
        assert proof
        sent = {"username": trackside.user, "password": trackside.password, "csrfmiddlewaretoken": proof[1]}
        pages.post("/login", data=sent, headers={"Referer": trackside.url, "X-Forwarded-For": "203.0.113.10"})
        for words, address in (("asked-from-afar", "203.0.113.9"), ("asked-from-here", "127.0.0.1"), ("login", "203.0.113.10")):
            shown = pages.get("/admin/access/auditevent/", params={"q": words}).text
            assert address in re.sub("<input[^>]*>", "", shown), words
    for key in ("asked-from-afar", "asked-from-here"):
        trackside.call("DELETE", f"/variables/{key}")


def test_s23_nothing_of_the_home_is_for_others(worked: tuple[Server, str]) -> None:
    site, _ = worked
    home = site.home / "data"
    assert stat.S_IMODE(home.stat().st_mode) & 0o077 == 0
    looked, wrong = 0, []
    for folder, _folders, files in os.walk(home):
        for name in (".", *files):
            path = Path(folder, name)
            try:
                found = path.lstat().st_mode
            except FileNotFoundError:
                continue
            if stat.S_ISLNK(found) or stat.S_ISSOCK(found):  # PostgreSQL's own socket asks for a password, and lies in the closed home
                continue
            looked, mode = looked + 1, stat.S_IMODE(found)
            inside = path.relative_to(home).parts
            mask = 0o077 if inside and inside[0] in ("keys", "logs") else 0o022  # what the closed home lets nobody reach may be readable
            if mode & mask:
                wrong.append(f"{oct(mode)} {path.relative_to(home)}")
    assert looked > 50 and wrong == []
    assert stat.S_IMODE((site.home / "ready.json").stat().st_mode) == 0o600
