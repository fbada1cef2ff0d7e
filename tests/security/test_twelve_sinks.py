"""S11, S12: one task of a whole product reads four secrets and does with them what people do by mistake: prints them, renders them,
fails with them, leaves them for others. Then twelve places are looked through for them, in every form they may have been written in:

1 REST, 2 pages and the administration, 3 logs of tasks and processes, 4 rendered fields, 5 lists of XComs, 6 tracebacks, 7 the trail,
8 the API's description, 9 exports, 10 sockets, 11 traces, 12 the command line. The task after it reads what was left, whole, and is
as careless with it. Each place is first seen to tell of the run at all, as an empty answer would hide everything.
Next door: `test_secrets_in_sinks.py` has every route and error text, without a stack.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.security.test_secrets_in_sinks import CANARIES, EXTRA, NESTED, PASSWORD, VALUE, leaks
from tests.support import server
from tests.support.server import Server, until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("twelve sinks")]
SEEN = "what-may-be-seen"
"""In the same prints, fields, errors and values as the secrets: a place that does not show it proves nothing."""
DAG = f"""
import base64, hashlib, json, logging
from urllib.parse import quote
from airflow.sdk import DAG, BaseOperator, Connection, Variable, task

class Careless(BaseOperator):
    template_fields = ("sql", "env")
    def __init__(self, sql, env, **kw):
        super().__init__(**kw)
        self.sql, self.env = sql, env
    def execute(self, context):
        c = Connection.get("canary")
        known = [c.password, c.extra_dejson["token"], c.extra_dejson["deep"]["list"][0]["api_key"], Variable.get("db_password")]
        for secret in known:
            print("{SEEN}", secret, c.get_uri())
            logging.getLogger("own").warning("{SEEN} %s", {{"x": [secret]}})
            for form in (quote(secret, safe=""), base64.b64encode(secret.encode()).decode(), json.dumps(secret)):
                print("{SEEN}", form)
        bearer = [f"Bearer {{s}}" for s in known]
        context["ti"].xcom_push("{SEEN}", {{"known": known, "uri": c.get_uri(), "text": json.dumps(known), "bearer": bearer}})
        raise ValueError(f"{SEEN}: cannot sign in with {{known}}")

@task(trigger_rule="all_done")
def reader(ti=None):
    got = ti.xcom_pull(task_ids="careless", key="{SEEN}")
    print("{SEEN}", got["known"], got["bearer"])
    for text in got["known"] + got["bearer"]:
        logging.getLogger("own").warning("{SEEN} %s", text)
    print("digest", hashlib.sha256("".join(got["known"]).encode()).hexdigest())
    return got["bearer"]

with DAG("canary", schedule=None, description="{SEEN}"):
    Careless(task_id="careless", sql="{SEEN} {{{{ conn.canary.password }}}} {{{{ var.value.db_password }}}}",
             env={{"TOKEN": "{{{{ conn.canary.extra_dejson.token }}}}", "a": "{SEEN}"}}) >> reader()
"""


@dataclass
class Site:
    """The stack after the run, and what a collector of traces was sent."""

    server: Server
    run_id: str
    task: dict[str, Any]
    spans: list[bytes]
    frames: list[str] = field(default_factory=list)

    def rest(self, path: str, **params: Any) -> str:
        answer = self.server.http.get(path, params=params)
        assert answer.status_code == 200, (path, answer.text[:500])
        return answer.text

    def browser(self) -> httpx.Client:
        found = httpx.Client(base_url=self.server.url, follow_redirects=True, timeout=30)
        found.get("/login")
        token = next(v for k, v in found.cookies.items() if "csrf" in k)
        form = {"username": self.server.user, "password": self.server.password, "csrfmiddlewaretoken": token}
        assert found.post("/login", data=form, headers={"Referer": self.server.url}).status_code == 200
        return found

    @property
    def instance(self) -> str:
        return f"/api/v2/dags/canary/dagRuns/{self.run_id}/taskInstances/careless"


@pytest.fixture(scope="module")
def spans() -> Iterator[tuple[str, list[bytes]]]:
    """The address of a collector of traces, and the bodies it was sent."""
    got: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    collector = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{collector.server_address[1]}", got
    collector.shutdown()
    collector.server_close()


@pytest.fixture(scope="module")
def site(spans: tuple[str, list[bytes]]) -> Iterator[Site]:
    home = server.temporary_home("trackside-sinks-")
    (home / "dags").mkdir()
    (home / "dags/canary.py").write_text(DAG)
    environment = {"TRACKSIDE_TRACES": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": spans[0], "OTEL_BSP_SCHEDULE_DELAY": "200",
                   "TRACKSIDE_LOG_LEVEL": "debug"}  # fmt: skip
    running = None
    try:
        running = server.start(home, home / "dags", environment=environment)
        extra = json.dumps({"token": EXTRA, "deep": {"list": [{"api_key": NESTED}]}, "region": SEEN})
        running.add_connection("canary", conn_type="http", host="h", login="l", password=PASSWORD, extra=extra, description=SEEN)
        running.call("POST", "/variables", json={"key": "db_password", "value": VALUE, "description": SEEN})
        running.unpause("canary")
        with Listening(running) as heard:
            run_id = running.trigger("canary", run_id="leaky")
            assert running.wait_run("canary", run_id)["state"] == "success"  # `reader` ends it, after the failure
            running.wait_log("cannot sign in", "canary", run_id, "careless")
            # what the next task reads is whole
            digest = hashlib.sha256("".join((PASSWORD, EXTRA, NESTED, VALUE)).encode()).hexdigest()
            running.wait_log(f"digest {digest}", "canary", run_id, "reader")
            task = next(t for t in running.tasks("canary", run_id) if t["task_id"] == "careless")
            until(lambda: any(b"careless try 1" in body for body in spans[1]), "the try was traced")
            frames = heard(task["id"])
        yield Site(running, run_id, task, spans[1], frames)
    finally:
        if running is not None:
            running.stop()
        server.remove(home)


class Listening:
    """A page's socket that hears the DAG, and then a try's log, until the log's error came."""

    def __init__(self, running: Server) -> None:
        browser = Site(running, "", {}, []).browser()
        cookies = "; ".join(f"{k}={v}" for k, v in browser.cookies.items())
        browser.close()
        address = running.url.replace("http", "ws", 1) + "/ws"
        self.way = connect(address, origin=running.url, additional_headers={"Cookie": cookies})  # type: ignore[arg-type]
        self.frames: list[str] = []

    def __enter__(self) -> Callable[[str], list[str]]:
        self.socket = self.way.__enter__()
        self.socket.send(json.dumps({"sub": "dag:canary"}))
        self.until("dag:canary")
        return self.told

    def told(self, try_id: str) -> list[str]:
        self.until("failed")
        self.socket.send(json.dumps({"sub": f"log:{try_id}:0"}))
        self.until("cannot sign in")
        return self.frames

    def until(self, text: str) -> None:
        while not any(text in frame for frame in self.frames):
            self.frames.append(str(self.socket.recv(timeout=30)))

    def __exit__(self, *_: object) -> None:
        self.way.__exit__(None, None, None)


def rest(site: Site) -> str:
    ways = ("connections", "connections/canary", "variables", "variables/db_password", "eventLogs", "dags/canary/details", "config")
    found = [site.server.http.get(f"/api/v2/{way}").text for way in ways] + [site.rest(site.instance)]
    return "".join([*found, site.rest(f"/api/trackside/v1/dags/canary/runs/{site.run_id}/why")])


def pages(site: Site) -> str:
    run, found = f"/dags/canary/runs/{site.run_id}", []
    with contextlib.closing(site.browser()) as browser:
        task, kept = f"{run}/tasks/careless", "/admin/access"
        for path in ("/", "/dags/canary", run, task, f"{task}?tab=rendered", f"{task}?tab=xcom", f"{run}/tasks/reader?tab=xcom", "/audit",
                     f"{kept}/connection/", f"{kept}/variable/", f"{kept}/auditevent/"):  # fmt: skip
            answer = browser.get(path)
            assert answer.status_code == 200, path
            found.append(answer.text)
        whole = "".join(found)
        for kind in ("connection", "variable"):
            link = re.search(rf'href="(/admin/access/{kind}/\d+/change/)', whole)
            assert link is not None, kind
            found += [browser.get(link[1]).text, browser.get(link[1].replace("change", "history")).text]
    return "".join(found)


def logs(site: Site) -> str:
    files = [p for p in site.server.home.rglob("*.jsonl") if p.is_file()] + [p for p in site.server.home.rglob("*.log") if p.is_file()]
    assert any(site.task["id"] in p.name for p in files), files
    return "".join(p.read_text(errors="replace") for p in files)


def rendered(site: Site) -> str:
    return json.dumps(json.loads(site.rest(site.instance))["rendered_fields"], ensure_ascii=False)


def xcoms(site: Site) -> str:
    run = site.instance.rpartition("/taskInstances")[0]
    lists = site.rest(f"{site.instance}/xcomEntries") + site.rest("/api/v2/dags/canary/dagRuns/~/taskInstances/~/xcomEntries")
    ways = [f"{site.instance}/xcomEntries/{SEEN}", f"{run}/taskInstances/reader/xcomEntries/return_value"]
    values = [site.rest(way, **how) for way in ways for how in ({}, {"stringify": True}, {"deserialize": True})]
    assert all("***" in value for value in values)
    return "".join([lists, *values, site.rest(f"{run}/wait", interval=1, result="reader")])


def traceback(site: Site) -> str:
    entries = site.server.call("GET", f"{site.instance.removeprefix('/api/v2')}/logs/1", params={"full_content": "true"},
                               headers={"Accept": "application/json"})["content"]  # fmt: skip
    return json.dumps([e["error_detail"] for e in entries if e.get("error_detail")], ensure_ascii=False)


def trail(site: Site) -> str:
    found = json.loads(site.rest("/api/v2/eventLogs", limit=100))["event_logs"]
    assert {"connection", "variable"} <= {w for e in found for w in ("connection", "variable") if w in e["event"]}
    return json.dumps(found, ensure_ascii=False)


def description(site: Site) -> str:
    return site.rest("/openapi.json")


def exports(site: Site) -> str:
    found = []
    with contextlib.closing(site.browser()) as browser:
        listed = browser.get("/admin/access/auditevent/").text
        token = next(v for k, v in browser.cookies.items() if "csrf" in k)
        keys = re.findall(r'name="_selected_action" value="(\d+)"', listed)
        for action in ("export_csv", "export_json"):
            form = {"action": action, "_selected_action": keys, "csrfmiddlewaretoken": token}
            answer = browser.post("/admin/access/auditevent/", data=form, headers={"Referer": site.server.url})
            assert answer.status_code == 200 and "html" not in answer.headers["Content-Type"]
            found.append(answer.text)
    return "".join(found)


def sockets(site: Site) -> str:
    return "".join(site.frames)


def traces(site: Site) -> str:
    return b"".join(site.spans).decode("utf-8", "replace")


def commands(site: Site) -> str:
    who = {"TRACKSIDE_USERNAME": site.server.user, "TRACKSIDE_PASSWORD": site.server.password, "HOME": str(site.server.home)}
    environment = {**os.environ, **who}
    found = []
    for words in (["connections", "list", "-o", "json"], ["connections", "get", "canary", "-o", "yaml"], ["variables", "list"],
                  ["variables", "get", "db_password"], ["audit", "list", "-o", "json"], ["runs", "show", "canary", site.run_id],
                  ["tasks", "logs", "canary", site.run_id, "careless"]):  # fmt: skip
        argv = [sys.executable, "-m", "trackside.cli", "--server", site.server.url, *words]
        done = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=60)
        assert done.returncode == 0, (words, done.stderr)
        found.append(done.stdout + done.stderr)
    return "".join(found)


SINKS: dict[str, tuple[Callable[[Site], str], str]] = {
    "1 REST": (rest, SEEN), "2 pages": (pages, SEEN), "3 logs": (logs, SEEN), "4 rendered fields": (rendered, SEEN),
    "5 XComs": (xcoms, SEEN), "6 tracebacks": (traceback, "cannot sign in"), "7 trail": (trail, "connection"),
    "8 description": (description, "/api/v2/connections"), "9 exports": (exports, "connection"), "10 sockets": (sockets, SEEN),
    "11 traces": (traces, SEEN), "12 command line": (commands, SEEN),
}  # fmt: skip
"""Sink → what reads it, and what must be in it."""


def test_s11_s12_no_secret_comes_out_of_any_of_the_twelve_sinks(site: Site) -> None:
    assert len(SINKS) == 12 and len(CANARIES) == 4
    told = {name: (read(site), sign) for name, (read, sign) in SINKS.items()}
    assert {name for name, (text, sign) in told.items() if sign not in text} == set(), "these tell nothing, so they prove nothing"
    assert {name: found for name, (text, _) in told.items() if (found := sorted(set(leaks(text))))} == {}
