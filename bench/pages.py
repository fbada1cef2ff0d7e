"""Section about the pages on a full ledger: 1,000 tasks × 365 runs and 5,000 DAGs, with a real Chromium where there is one.

The rows are written by SQL. Server time, bytes and statements per page are taken by `pageload.py` in a process of its own on the
same database; first paint, frames of the scrolling grid and change → pixel in the browser; CPU and memory of the web process
while 200 sockets hear every change. Goals: first paint ≤ 1 s, grid data ≤ 50 ms and ≤ 300 kB, frames p95 ≤ 16.7 ms, change →
pixel p99 ≤ 150 ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
from websockets.asyncio.client import connect

from bench import machine, workloads
from bench.arithmetic import quantile
from config.embedded_postgres import read_server_info

if TYPE_CHECKING:
    from bench.sections import Bench

DAG, BATCH_S, CHANGES_S, SOCKETS = "bench_pages", 0.02, 6.0, 200
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
_RUNS = """
INSERT INTO runs_run (dag_id, run_id, run_type, state, run_after, queued_at, start_date, end_date, updated_at, conf, triggered_by,
    dag_version_id, clear_number, expanded, troubles)
SELECT d.dag_id, 'r' || n, 'manual', CASE WHEN n = 1 AND d.dag_id = %(dag)s THEN 'running' ELSE 'success' END, at, at, at,
    at + interval '1 minute', at, '{}', 'rest_api', d.current_version_id, 0, true, 0
FROM dags_dag d, generate_series(1, %(count)s) n, LATERAL (SELECT now() - make_interval(hours => n) AS at) m WHERE d.dag_id LIKE %(like)s
"""
_INSTANCES = """
INSERT INTO runs_taskinstance (run_id, dag_id, task_id, map_index, state, try_id, try_number, max_tries, infra_failures, start_date,
    end_date, duration, updated_at, operator, task_display_name, pool, pool_slots, queue, priority_weight, hostname, unixname,
    dag_version_id, reschedules)
SELECT r.id, r.dag_id, t, -1, CASE WHEN (r.id + n) %% 50 = 0 THEN 'failed' ELSE 'success' END, gen_random_uuid(), 1, 0, 0, r.start_date,
    r.end_date, 60, r.end_date, '@task', t, 'default_pool', 1, 'default', 1, '', '', r.dag_version_id, 0
FROM runs_run r, generate_series(0, %(count)s) n, LATERAL (SELECT CASE WHEN n < 10 THEN 't0' || n ELSE 't' || n END AS t) m
WHERE r.dag_id = %(dag)s
"""
_DAGS = """
INSERT INTO dags_dag SELECT (jsonb_populate_record(d, jsonb_build_object('dag_id', 'bench_page_' || n,
    'dag_display_name', 'bench_page_' || n, 'is_paused', true))).* FROM dags_dag d, generate_series(1, %(count)s) n WHERE d.dag_id = %(dag)s
"""
_CHANGE = """
WITH moved AS (UPDATE runs_taskinstance t SET state = w.state FROM unnest(%(ids)s::bigint[], %(states)s::text[]) w(id, state)
    WHERE t.id = w.id RETURNING t.id, t.run_id, t.task_id, t.state)
INSERT INTO runs_event (kind, verb, dag_id, run_pk, run_id, payload, at, xid)
SELECT 'task', 'move', %(dag)s, run_id, 'r1', jsonb_build_object('state', state, 'tis',
    jsonb_build_array(jsonb_build_array(id, task_id, -1, 1))),
    clock_timestamp(), pg_current_xact_id() FROM moved
"""
# how long after its change a frame that shows it was given to the screen: the message's own handler asks for that frame first
_WATCH = """
window.took = [];
window.WebSocket = class extends WebSocket {
  constructor(...a) {
    super(...a);
    this.addEventListener('message', e => {
      const told = JSON.parse(e.data);
      if (told.events) requestAnimationFrame(() => requestAnimationFrame(() => {
        const now = performance.timeOrigin + performance.now();
        for (const event of told.events) window.took.push(now - event[9]);
      }));
    });
  }
};
"""
_SCROLL = """() => new Promise(done => {
  const box = document.querySelector('.gwrap'), frames = [], drawn = [];
  let last = performance.now(), left = 180;
  box.scrollLeft = 0; box.scrollTop = 0;
  const step = now => {
    frames.push(now - last); last = now;
    drawn.push(parseFloat((document.querySelector('#gstat')?.textContent ?? '').split('drawn in ')[1]) || 0);
    box.scrollLeft += 24; box.scrollTop += 40;
    if (--left) requestAnimationFrame(step); else done([frames.slice(5), drawn.slice(5)]);
  };
  requestAnimationFrame(step);
})"""


def write(folder: Path, quick: bool) -> None:
    """The DAG of this section; it stays paused."""
    workloads.chain(folder, DAG, 100 if quick else 1000)


def measure_pages(bench: Bench) -> dict[str, Any]:
    """All of it; what needs a browser is left out where there is none."""
    tasks, runs, dags = (100, 25, 200) if bench.quick else (1000, 365, 5000)
    info = read_server_info(bench.server.home / "data")
    if info is None:
        raise RuntimeError("the stack's PostgreSQL left no server.json")
    bench.server.wait_dag(DAG)
    with psycopg.connect(info.url(), autocommit=True) as connection:
        _fill(connection, tasks, runs, dags)
        found: dict[str, Any] = {"tasks": tasks, "runs": runs, "dags": dags, "load_before": os.getloadavg()[0]}
        meter = machine.Meter(bench.roots)
        connection.execute("UPDATE dags_dag SET is_stale = false WHERE is_stale")  # their file, parsed meanwhile, holds only one of them
        found["pages"] = _loads(bench, info.url(), tasks, runs)
        with contextlib.closing(_session(bench)) as session:
            found |= _in_browser(bench, connection, session, runs)
            found |= _sockets(bench, connection, session)
        found["other_load"] = meter.stop()["other_load"]
    return found


def _fill(connection: psycopg.Connection, tasks: int, runs: int, dags: int) -> None:
    connection.execute("SET session_replication_role = replica")  # no foreign keys are looked up for rows we know
    connection.execute(_DAGS, {"dag": DAG, "count": dags})
    connection.execute(_RUNS, {"dag": DAG, "count": runs, "like": DAG})
    connection.execute(_RUNS, {"dag": DAG, "count": 14, "like": "bench_page\\_%"})
    connection.execute(_INSTANCES, {"dag": DAG, "count": tasks - 1})
    connection.execute("RESET session_replication_role")
    connection.execute("VACUUM ANALYZE runs_run, runs_taskinstance, dags_dag")


def _loads(bench: Bench, url: str, tasks: int, runs: int) -> dict[str, Any]:
    """By page: milliseconds, kilobytes and statements of its making."""
    home = str(bench.server.home / "data")
    child = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("pageload.py")), DAG, str(runs), "3" if bench.quick else "7"],
        env={**os.environ, "DATABASE_URL": url, "TRACKSIDE_HOME": home, "DJANGO_SETTINGS_MODULE": "config.settings"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if child.returncode:
        raise RuntimeError(child.stderr[-2000:])
    loads: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return loads


def _session(bench: Bench) -> httpx.Client:
    """A signed-in person's cookies."""
    client = httpx.Client(base_url=bench.server.url, timeout=60, trust_env=False, follow_redirects=True)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', client.get("/login").text)
    form = {"username": bench.server.user, "password": bench.server.password, "csrfmiddlewaretoken": token[1] if token else ""}
    if client.post("/login", data=form, headers={"Referer": f"{bench.server.url}/login"}).is_error:
        raise RuntimeError("could not sign in")
    return client


class _Changes(threading.Thread):
    """Changes states of the newest run's instances at a steady rate and tells of them, until stopped."""

    def __init__(self, connection: psycopg.Connection, rate: int) -> None:
        super().__init__(daemon=True)
        self.connection, self.each, self.made = connection, max(1, round(rate * BATCH_S)), 0
        self.pause = self.each / rate
        self.ending = threading.Event()
        rows = connection.execute(
            "SELECT t.id FROM runs_taskinstance t JOIN runs_run r ON r.id = t.run_id WHERE r.dag_id = %s AND r.run_id = 'r1'", (DAG,)
        ).fetchall()
        self.ids = [row[0] for row in rows]

    def run(self) -> None:
        """Batch by batch, catching up when one took long."""
        due, states = time.monotonic(), ("running", "success", "failed", "queued")
        while not self.ending.wait(max(0.0, due - time.monotonic())):
            due += self.pause
            ids = [self.ids[(self.made + k) % len(self.ids)] for k in range(self.each)]
            turn = states[(self.made // len(self.ids)) % 4]
            self.connection.execute(_CHANGE, {"ids": ids, "states": [turn] * len(ids), "dag": DAG})
            self.connection.execute("NOTIFY trackside_live")
            self.made += len(ids)


def _in_browser(bench: Bench, connection: psycopg.Connection, session: httpx.Client, runs: int) -> dict[str, Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return {"browser": "left out: no playwright"}
    if not Path(CHROMIUM).exists():
        return {"browser": "left out: no Chromium"}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(base_url=bench.server.url, viewport={"width": 1440, "height": 900})
        context.add_cookies([{"name": c.name, "value": c.value or "", "url": bench.server.url} for c in session.cookies.jar])
        page = context.new_page()
        paints = {name: _first_paint(page, path) for name, path in addresses(DAG).items()}
        page.add_init_script(_WATCH)
        page.goto(f"/dags/{DAG}")
        page.wait_for_function("() => window.tracksideGrid?.model.width > 0")
        page.select_option("#gruns", str(runs))
        page.wait_for_function("n => window.tracksideGrid.model.width === n", arg=runs)
        frames, drawn = page.evaluate(_SCROLL)
        latency = {str(rate): _latency(page, connection, rate) for rate in (100, 1000)}
        browser.close()
    return {
        "first_paint_ms": paints,
        "frame_ms": {"p50": round(quantile(frames, 0.5), 1), "p95": round(quantile(frames, 0.95), 1)},
        "drawn_ms_p95": round(quantile(drawn, 0.95), 1),
        "pixel_ms": latency,
    }  # fmt: skip


def addresses(dag_id: str) -> dict[str, str]:
    """The page set."""
    run = f"/dags/{dag_id}/runs/r1"
    return {"home": "/", "dags": "/dags", "grid": f"/dags/{dag_id}", "run": run, "task": f"{run}/tasks/t00", "runs": "/runs"}


def _first_paint(page: Any, path: str) -> float:
    found = []
    for _ in range(3):
        page.goto(path)
        page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length")
        found.append(page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"))
    return round(quantile(found, 0.5), 1)


def _latency(page: Any, connection: psycopg.Connection, rate: int) -> dict[str, float]:
    page.evaluate("() => { window.took.length = 0; }")
    changes = _Changes(connection, rate)
    began = time.monotonic()
    changes.start()
    page.wait_for_timeout(1000 * CHANGES_S)
    changes.ending.set()
    changes.join()
    took = time.monotonic() - began
    page.wait_for_timeout(1500)
    seen = page.evaluate("() => window.took")
    if not seen:
        raise RuntimeError("the page heard of no change")
    return {
        "made_per_s": round(changes.made / took), "seen": len(seen), "made": changes.made,
        "p50": round(quantile(seen, 0.5), 1), "p99": round(quantile(seen, 0.99), 1),
    }  # fmt: skip


def _sockets(bench: Bench, connection: psycopg.Connection, session: httpx.Client) -> dict[str, Any]:
    """CPU and memory of the web process while 200 sockets hear 1,000 changes/s."""
    count = 20 if bench.quick else SOCKETS
    cookie = "; ".join(f"{c.name}={c.value}" for c in session.cookies.jar)
    url, web = bench.server.url, bench.server.pids["web"]
    frames = 0

    async def hear(stop: asyncio.Event) -> None:
        nonlocal frames
        async with connect(
            url.replace("http", "ws", 1) + "/ws", additional_headers={"Cookie": cookie, "Origin": url}, proxy=None
        ) as socket:
            await socket.send(json.dumps({"sub": f"dag:{DAG}"}))
            while not stop.is_set():
                try:
                    await asyncio.wait_for(socket.recv(), 0.5)
                    frames += 1
                except TimeoutError:
                    pass

    async def main() -> dict[str, float]:
        stop = asyncio.Event()
        clients = [asyncio.create_task(hear(stop)) for _ in range(count)]
        await asyncio.sleep(3)
        changes, meter = _Changes(connection, 1000), machine.Meter({web})
        changes.start()
        await asyncio.sleep(CHANGES_S)
        changes.ending.set()
        used = meter.stop()
        pss = sum(map(machine.pss_mib, machine.tree(machine.processes(), {web})))
        stop.set()
        await asyncio.gather(*clients)
        return {
            "count": count, "made_per_s": round(changes.made / used["seconds"]), "frames_per_s": round(frames / used["seconds"]),
            "web_cpu_percent": round(100 * used["cpu_s"] / used["seconds"], 1), "web_pss_mib": round(pss, 1),
        }  # fmt: skip

    return {"sockets": asyncio.run(main())}
