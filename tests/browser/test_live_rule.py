"""The live rule: after any changes, broken lines, a restarted web process and a slow client, a page shows what a fresh load shows.

Byte for byte of the page's state model: the grid's own, else all that its live region is made of. Times, durations and what is
drawn as long as they are differ between any two loads and are left out.
"""

from __future__ import annotations

import asyncio
import difflib
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from django.utils.timezone import now

from apps.dags.models import Dag
from apps.runs import wake
from apps.runs.models import Event, Run, TaskInstance, Try
from apps.ui import assets
from apps.ui.live import consumer
from apps.ui.tests import factories

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(assets.island("grid") is None, reason="the front end is not built: python frontend/build.py"),
]
STEPS = 24
"""Changes per disturbance."""
SETTLE_S = 60.0
TASK_STATES = ("none", "scheduled", "queued", "running", "success", "failed", "up_for_retry", "upstream_failed", "skipped")
MODEL_OF = """root => [...document.querySelectorAll(root)].flatMap(r => {
  const copy = r.cloneNode(true);
  for (const moment of copy.querySelectorAll('time')) moment.replaceWith('a time');
  for (const proof of copy.querySelectorAll('[name=csrfmiddlewaretoken]')) proof.remove();
  for (const drawn of [copy, ...copy.querySelectorAll('*')])
    for (const name of drawn.getAttributeNames())
      if (/^(style|x|y|x1|x2|width|height|d|points|transform|cx|data-cursor)$/.test(name)) drawn.removeAttribute(name);
  return copy.outerHTML.replace(/(\\b[0-9.,:]+ ?(ms|s|min|h|d)\\b ?)+/g, '#').split(/(?=<)/);
})"""
GRID = "() => window.tracksideGrid?.model.runs.length ? window.tracksideGrid.said() : null"
WITH_SOCKETS = "window.sockets = []; window.WebSocket = class extends WebSocket { constructor(...a) { super(...a); sockets.push(this); } };"


class Web:
    """The web process of the test, which can be ended and started again at the same address."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.start()

    def start(self) -> None:
        from config.asgi import application

        self.server = uvicorn.Server(
            uvicorn.Config(application, host="127.0.0.1", port=self.port, log_level="error", timeout_graceful_shutdown=1)
        )
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        until(lambda: self.server.started, "the web process started")

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()


def until(done: Any, what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def web_process(transactional_db: None) -> Iterator[Web]:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = Web(port)
    yield made
    made.stop()


class Slow:
    """While `on`, every socket takes its frames slowly; `told` counts the ones that overflowed and had to load afresh."""

    on = False
    told = 0


@pytest.fixture
def slow(monkeypatch: Any) -> Slow:
    """Slow clients at will; few frames may wait for one."""
    switch = Slow()
    plain = consumer.LiveConsumer.send

    async def send(self: Any, text_data: str) -> None:
        if switch.on:
            await asyncio.sleep(0.5)
        switch.told += '"resync":true' in text_data
        await plain(self, text_data)

    monkeypatch.setattr(consumer.LiveConsumer, "send", send)
    monkeypatch.setattr(consumer, "QUEUE", 3)
    return switch


class World:
    """Two DAGs with runs, and random changes of them that are told the way the ledger tells them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        made = factories.spec("orders", ["extract", "g.load", "g.check", "each"], {"g": ["g.load", "g.check"]})
        made.tasks[-1].mapped = True
        dag = factories.dag("orders", made=made)
        self.runs = [factories.run(dag, state="running") for _ in range(3)] + [factories.run(factories.dag("other"), state="running")]
        for run in self.runs[:3]:
            one = TaskInstance.objects.get(run=run, task_id="each")
            for index in range(3):
                TaskInstance.objects.filter(pk=one.pk).update(map_index=0)
                if index:
                    TaskInstance.objects.create(
                        run=run, dag_id="orders", task_id="each", map_index=index, state="none", try_number=1, operator="@task"
                    )
        self.task = TaskInstance.objects.get(run=self.runs[0], task_id="extract")
        Try.objects.create(id=self.task.try_id, ti=self.task, number=1, state="running", start_date=now())

    def change(self, count: int) -> None:
        for _ in range(count):
            run = self.random.choice(self.runs)
            if self.random.random() < 0.1:
                self._pause(run.dag_id, self.random.random() < 0.5)
            elif self.random.random() < 0.2:
                self._run(run, self.random.choice(("queued", "running", "success", "failed")), self.random.choice(("", "Seen.")))
            else:
                tis = list(TaskInstance.objects.filter(run=run).order_by("pk"))
                one = self.random.choice(tis)
                TaskInstance.objects.filter(pk=one.pk).update(reason=self.random.choice(("", "Pool etl is full.", "boto is missing.")))
                factories.move(one, self.random.choice(TASK_STATES))
            if self.random.random() < 0.5:
                wake.send(wake.LIVE)
        wake.send(wake.LIVE)

    def end(self) -> None:
        """The last changes: no page may by chance end as it began."""
        TaskInstance.objects.filter(pk=self.task.pk).update(reason="The last word.")
        factories.move(self.task, "failed")
        self._run(self.runs[0], "failed", "Seen.")
        self._pause("orders", True)
        wake.send(wake.LIVE)

    @staticmethod
    def _pause(dag_id: str, paused: bool) -> None:
        Dag.objects.filter(pk=dag_id).update(is_paused=paused)
        Event.objects.create(kind="dag", verb="paused" if paused else "unpaused", dag_id=dag_id)

    @staticmethod
    def _run(run: Run, state: str, note: str) -> None:
        ended = now() if state in ("success", "failed") else None
        Run.objects.filter(pk=run.pk).update(state=state, end_date=ended, note=note)
        Event.objects.create(kind="run", verb="move", dag_id=run.dag_id, run_pk=run.pk, run_id=run.run_id, payload={"state": state})

    @property
    def pages(self) -> dict[str, tuple[str, str, str | None]]:
        """By name: address, what to ask the page, and of which region."""
        run = f"/dags/orders/runs/{self.runs[0].run_id}"
        return {
            "grid": ("/dags/orders", GRID, None),
            "graph": (f"/dags/orders/graph?run={self.runs[0].run_id}", MODEL_OF, "#g:has(a.n)"),
            "home": ("/", MODEL_OF, "#board"),
            "list": ("/dags", MODEL_OF, "tr[data-dag]"),
            "head": ("/dags/orders/details", MODEL_OF, "#dag-head"),
            "runs": ("/runs", MODEL_OF, "#runs"),
            "tasks": ("/tasks?state=failed&days=all", MODEL_OF, "#tis"),
            "run": (run, MODEL_OF, "#run-head,#run-body"),
            "task": (f"{run}/tasks/extract", MODEL_OF, "#task-head,#task-tries"),
        }


def sign_in(context: Any) -> None:
    page = context.new_page()
    page.goto("/login")
    page.fill("#id_username", "mara")
    page.fill("#id_password", "mara")
    page.click("main button")
    page.wait_for_selector("h1")
    page.close()


@pytest.mark.timeout(600)  # nine pages of a browser and the web process share the cores
def test_every_page_ends_as_a_fresh_load_shows_it(browser: Any, web_process: Web, slow: Slow) -> None:
    factories.user("mara")
    world = World(seed=1)
    context = browser.new_context(base_url=f"http://127.0.0.1:{web_process.port}", timezone_id="UTC")
    context.add_init_script(WITH_SOCKETS)
    sign_in(context)
    tabs = {}
    for name, (address, _, _) in world.pages.items():
        tabs[name] = context.new_page()
        tabs[name].goto(address)
        tabs[name].wait_for_selector('.live[data-live="connected"]')
    before = {name: said(tabs[name], *world.pages[name][1:]) for name in tabs}

    world.change(STEPS)
    for tab in tabs.values():
        tab.evaluate("sockets.forEach(s => s.close())")
    world.change(STEPS)
    slow.on, deadline = True, time.monotonic() + 30
    while not slow.told:
        assert time.monotonic() < deadline, "no queue overflowed"
        world.change(3)
        tabs["grid"].wait_for_timeout(150)  # so that they arrive as frames of their own
    slow.on = False
    web_process.stop()
    world.change(STEPS)
    web_process.start()
    for tab in tabs.values():
        tab.wait_for_selector('.live[data-live="connected"]', timeout=60_000)
    world.change(STEPS)
    world.end()

    for name, (address, ask, region) in world.pages.items():
        fresh = context.new_page()
        fresh.goto(address)
        fresh.wait_for_selector('.live[data-live="connected"]')
        until(lambda f=fresh, a=ask, r=region: said(f, a, r) not in (None, []), f"{name} was loaded")
        expected = said(fresh, ask, region)
        deadline = time.monotonic() + SETTLE_S
        while (shown := said(tabs[name], ask, region)) != expected and time.monotonic() < deadline:
            tabs[name].wait_for_timeout(100)
        assert shown == expected, f"{name} is not what a fresh load shows:\n{differences(shown, expected)}"
        assert shown != before[name], f"nothing changed on {name}: the test proves nothing"
        fresh.close()
    context.close()


def differences(shown: Any, expected: Any) -> str:
    """What of a live region is not as in a fresh load; the grid's model as a whole."""
    if not isinstance(shown, list):
        return f"{shown}\n{expected}"
    return "\n".join(difflib.unified_diff(shown, expected, "live", "fresh", lineterm=""))


def said(page: Any, ask: str, region: str | None) -> Any:
    return page.evaluate(ask, region) if region else page.evaluate(ask)
