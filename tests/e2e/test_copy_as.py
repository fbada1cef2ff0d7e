"""Every page's "copy as curl, Python or command line" against a whole product: each text is run as it stands, and works.

The shell takes each text apart, curl runs as it is, the Python texts run in one child and the command's words in another, so that
three forms of some fifty calls cost seconds and not minutes. Names on purpose: quotes, spaces, dollars, letters of other languages.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.support.server import Server, until
from trackside.client import Client

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed here")]
DAG = """
from datetime import datetime
from airflow.sdk import DAG, Asset, Param, task
with DAG("copied", schedule="@daily", start_date=datetime(2026, 1, 1), catchup=False, is_paused_upon_creation=False, max_active_runs=50,
         tags=["it's"], params={"text": Param("a", type="string"), "n": Param(1, type="integer")}):
    @task(outlets=[Asset("copied table")])
    def write(): print("written")
    write()
with DAG("copied_too", schedule=None, is_paused_upon_creation=False):
    @task
    def fail(): raise ValueError("on purpose")
    fail()
"""
HARD = "r'1 \"$HOME\" `x` ø––%"
RUN = "odd~1:+.x_-"
TEXT = re.compile(r'<pre[^>]* data-as="(\w+)">(.*?)</pre>', re.S)
BACKFILL = re.compile(r"-X POST \S*/api/v2/backfills|'POST', '/api/v2/backfills'|backfill create")
RUN_PYTHON = """
import io, json, sys, contextlib, traceback
failed = {}
for number, text in enumerate(json.load(sys.stdin)):
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said): exec(compile(text, f"snippet {number}", "exec"), {"__name__": "snippet"})
        if not said.getvalue().strip(): failed[number] = "said nothing"
    except BaseException: failed[number] = traceback.format_exc(limit=2)
print(json.dumps(failed))
"""
RUN_COMMANDS = """
import io, json, os, sys, contextlib
from trackside.cli.commands import main
failed = {}
for number, argv in enumerate(json.load(sys.stdin)):
    for name in ("TRACKSIDE_SERVER", "TRACKSIDE_PROFILE"): os.environ.pop(name, None)
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err): code = main(argv[1:])
    except SystemExit as e: code = e.code
    if code: failed[number] = f"{code}: {err.getvalue()[-500:]}"
print(json.dumps(failed))
"""


def csrf(browser: httpx.Client) -> str:
    return next(value for name, value in browser.cookies.items() if "csrf" in name)


def signed_in(server: Server) -> httpx.Client:
    browser = httpx.Client(base_url=server.url, follow_redirects=True, timeout=60)
    browser.get("/login")
    form = {"username": server.user, "password": server.password, "csrfmiddlewaretoken": csrf(browser)}
    assert browser.post("/login", data=form, headers={"Referer": server.url}).status_code == 200
    return browser


def texts(browser: httpx.Client, path: str, form: dict[str, str] | None = None) -> list[tuple[str, str]]:
    """(form, text) of a page; with `form`, of a dialog whose "copy" button was pressed."""
    if form is None:
        answer = browser.get(path)
    else:
        sent = {**form, "copy": "1", "csrfmiddlewaretoken": csrf(browser)}
        answer = browser.post(path, data=sent, headers={"Referer": str(browser.base_url), "HX-Request": "true"})
    assert answer.status_code == 200, (path, answer.text[-2000:])
    found = [(name, html.unescape(text)) for name, text in TEXT.findall(answer.text)]
    assert found and len(found) % 3 == 0, f"{path} has no menu"
    return found


def pages(client: Client) -> list[tuple[str, dict[str, str] | None]]:
    """Every page with a menu, and every dialog with choices made."""
    run = f"/dags/copied/runs/{quote(RUN)}"
    ids = {"asset": client.assets("copied table")[0]["id"]}
    found: list[tuple[str, Any]] = [
        (path, None)
        for path in (
            "/", "/dags", "/dags?q=cop&tag=it%27s&view=paused", "/runs", "/runs?state=success&type=manual", "/tasks",
            "/tasks?state=success&dag=copied&pool=default_pool", "/audit", "/audit?who=admin&what=paused&dag=copied", "/processes", "/data",
            "/assets", "/assets?q=cop", f"/assets/{ids['asset']}", f"/assets/{ids['asset']}/materialize", "/required-actions",
            "/import-errors", "/dags/copied", "/dags/copied/graph", "/dags/copied/runs?state=success", "/dags/copied/calendar",
            "/dags/copied/backfills", "/dags/copied/tasks", "/dags/copied/trends", "/dags/copied/code", "/dags/copied/audit",
            "/dags/copied/details", run, f"{run}/compare", f"{run}/tasks/write", f"{run}/clear", f"{run}/mark", f"{run}/tasks/write/clear",
            f"{run}/tasks/write/mark", "/dags/copied/trigger", "/dags/copied/backfill", "/admin/runs/pool/", "/admin/access/variable/",
            "/admin/access/connection/", "/admin/access/user/", "/admin/auth/group/",
            "/admin/access/apitoken/", "/admin/access/auditevent/",
        )
    ]  # fmt: skip
    found += [
        ("/dags/copied/trigger", {"param.text": HARD, "param.n": "7", "note": "it's ø", "conf": '{"more": "\\"$x\\""}', "unpause": "on"}),
        (f"{run}/clear", {"what": "all", "runs": "this", "code": "latest"}),
        (f"{run}/tasks/write/clear", {"what": "both", "runs": "this", "code": "same"}),
        (f"{run}/mark", {"state": "failed", "note": HARD}),
        (f"{run}/tasks/write/mark", {"state": "skipped", "downstream": "on", "note": HARD}),
        (f"{run}/note", {"note": HARD}),
        (f"{run}/tasks/write/note", {"note": HARD}),
        (f"/assets/{ids['asset']}/event", {"extra": '{"rows": 7, "who": "it\'s ø"}'}),
        ("/dags/copied/backfill", {"from": "2026-02-01T00:00", "to": "2026-02-02T00:00", "reprocess": "completed", "max_active": "2"}),
        *(("/dags-bulk", {"do": do, "dag": "copied_too"}) for do in ("clear", "trigger", "pause")),
    ]
    return found


def test_every_text_of_every_page_works_as_it_stands(trackside: Server, tmp_path: Path) -> None:
    (Path(trackside.dags_folder) / "copied.py").write_text(DAG)
    trackside.wait_dag("copied")
    with Client(trackside.url, username=trackside.user, password=trackside.password) as client:
        client.put("variables", "key", HARD, {"value": "1"})
        client.trigger("copied_too", run_id=RUN)
        client.trigger("copied", run_id=RUN)
        assert client.wait("copied_too", RUN, timeout=60)["state"] == "failed"
        assert client.wait("copied", RUN, timeout=60)["state"] == "success"
        token = client.create_token(trackside.user, "copied")["token"]
        browser = signed_in(trackside)
        by_form: dict[str, list[str]] = {"curl": [], "Python": [], "CLI": []}
        variable = re.search(r'href="(/admin/access/variable/\d+/change/)', browser.get("/admin/access/variable/?q=HOME").text)
        assert variable is not None
        for path, form in [*pages(client), (variable[1], None)]:
            for name, text in texts(browser, path, form):
                if text not in by_form[name]:
                    by_form[name].append(text)
        browser.close()
    assert len(by_form["curl"]) > 40 and token not in str(by_form)
    once(trackside, token, by_form, tmp_path)


def settled(server: Server) -> None:
    """A DAG has one open backfill: the next call waits for the end of the one before."""
    until(lambda: all(b["completed_at"] for b in server.get("/backfills", dag_id="copied")["backfills"]), "the backfill was complete", 120)


def parts(texts: list[str]) -> list[list[str]]:
    """All that starts no backfill together, then each that does by itself."""
    starts = [text for text in texts if BACKFILL.search(text)]
    assert len(starts) == 2, starts
    return [[text for text in texts if text not in starts], *([text] for text in starts)]


def once(server: Server, token: str, by_form: dict[str, list[str]], folder: Path) -> None:
    """Run all; what does not work is named with its text."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TRACKSIDE_")}
    environment = {**clean, "TRACKSIDE_TOKEN": token, "TRACKSIDE_PROFILES": str(folder / "none.toml")}
    failed: list[str] = []
    for texts in parts(by_form["curl"]):
        settled(server)
        script = "\n".join(f"{{ {text}\n}} >/dev/null 2>{folder}/e{k} || echo {k}" for k, text in enumerate(texts))
        done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=True)
        failed += [f"{texts[int(k)]}\n{(folder / f'e{k}').read_text()}" for k in done.stdout.split()]
    for texts in parts(by_form["Python"]):
        settled(server)
        failed += child(RUN_PYTHON, texts, texts, environment)
    for texts in parts(by_form["CLI"]):
        settled(server)
        shell = 'trackside() { printf "%s\\0" trackside "$@"; printf "\\n\\0"; };\n' + "\n".join(texts)
        told = subprocess.run(["bash", "-c", shell], env=environment, capture_output=True, text=True, timeout=60, check=True).stdout
        argvs = [part.rstrip("\0").split("\0") for part in told.split("\n\0") if part]
        assert len(argvs) == len(texts)
        failed += child(RUN_COMMANDS, argvs, texts, environment)
    assert not failed, "\n---\n".join(failed)


def child(program: str, given: list[Any], texts: list[str], environment: dict[str, str]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(given), env=environment, capture_output=True, text=True, timeout=240, check=True
    )
    return [f"{texts[int(k)]}\n{why}" for k, why in json.loads(done.stdout.splitlines()[-1]).items()]
