"""axe-core on every page and dialog, light and dark, wide and on a phone: no violation."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils.timezone import now

from apps.access.models import AuditEvent
from apps.dags.models import Asset, AssetUse, Dag, DagFile, DagVersion, ImportProblem
from apps.runs import logs
from apps.runs.models import HITLDetail, Process, Run, TaskInstance, Try, XCom
from apps.ui import assets
from apps.ui.tests import factories
from tests.support import openers

AXE = Path(__file__).parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(assets.island("grid") is None or not AXE.is_file(), reason="the front end is not built: python frontend/build.py"),
]
RECORDS = [
    {"event": "Try 1 runs", "level": "info"}, {"event": "::group::Preparing"}, {"event": "\x1b[32mgood\x1b[0m \x1b[90mquiet\x1b[0m"},
    {"event": "::endgroup::"}, {"event": "odd", "level": "warning"}, {"event": "deep", "level": "debug"},
    {"event": "Task failed", "level": "error",
     "error_detail": [{"exc_type": "KeyError", "exc_value": "x", "text": "Traceback\nKeyError: x"}]},
]  # fmt: skip


@pytest.fixture
def seeded(page: Any, tmp_path: Any, settings: Any) -> Run:
    """A server on which every kind of thing exists: failures, waits, notes, files that do not load, logs, values."""
    settings.LOGS_FOLDER = tmp_path
    params = {
        "rows": {"value": 10, "schema": {"type": "integer", "title": "Rows", "maximum": 50}},
        "dry": {"value": True, "schema": {"type": "boolean"}},
    }
    made = factories.spec("orders", ["a", "g.b", "g.c"], {"g": ["g.b", "g.c"]}, params=params)
    made.tasks[0].outlets = [{"type": "asset", "name": "orders.daily", "uri": "s3://orders/daily"}]
    made.tasks[2].attributes = {"trigger_dag_id": "waiting"}
    dag = factories.dag(made=made, description="Orders of the day", timetable_description="Hourly at :00")
    dag.tags.create(name="tier-1")
    factories.run(dag, states={"g.c": "skipped"})
    states = {"a": "failed", "g.b": "upstream_failed", "g.c": "upstream_failed"}
    run = factories.run(dag, state="failed", states=states, reason="a failed.", note="n")
    waiting = factories.run(factories.dag("waiting"), state="running", states={"load": "scheduled", "check": "up_for_retry"})
    TaskInstance.objects.filter(run=waiting, task_id="load").update(reason="Pool etl is full, 3rd in line.")
    factories.dag("resting")
    Dag.objects.filter(pk="resting").update(is_paused=True)
    ti = TaskInstance.objects.get(run=run, task_id="a")
    TaskInstance.objects.filter(pk=ti.pk).update(reason="KeyError: x", note="Known.", rendered_fields={"sql": "select 1"})
    row = factories.a_try(ti, state="failed", error="KeyError: x", final_state="failed", hostname="host")
    logs.append(row.pk, 0, b"".join(json.dumps({"t": "2026-11-18T14:10:51Z", **r}).encode() + b"\n" for r in RECORDS))
    Try.objects.filter(pk=row.pk).update(log_ended=True)
    XCom.objects.create(run=run, dag_id="orders", task_id="a", key="return_value", value='{"a": 1}')
    file = DagFile.objects.create(relative_path="broken.py", path="/dags/broken.py")
    ImportProblem.objects.create(file=file, message="SyntaxError", stacktrace="Traceback")
    Process.objects.create(kind="scheduler", name="one")
    AuditEvent.objects.create(action="trigger_dag_run", actor="mara", means="ui", dag_id="orders", run_id=run.run_id)
    asset = Asset.objects.create(name="orders.daily", uri="s3://orders/daily", is_active=True, group="money")
    AssetUse.objects.create(dag=dag, kind="outlet", task_id="a", asset=asset)
    asking = TaskInstance.objects.get(run=waiting, task_id="extract")
    TaskInstance.objects.filter(pk=asking.pk).update(state="awaiting_input")
    HITLDetail.objects.create(ti=asking, try_id=asking.try_id, subject="Ship it?", options=["Yes", "No"])
    factories.tell(ti, "failed")
    spread(run, dag)
    return run


def spread(run: Run, dag: Dag) -> None:
    """What the pages of trends, comparisons, processes, audit and values draw beside the plain rows."""
    made = factories.spec("orders", ["a", "g.b", "g.d"], {"g": ["g.b", "g.d"]})
    DagVersion.objects.create(dag=dag, number=2, spec=made.to_dict(), spec_hash="2", source="import os\nprint('hello, ' + 'x' * 200)\n")
    Run.objects.filter(pk=run.pk).update(conf={"day": "2026-11-18", "deep": {"rows": [1, 2]}})
    moments = {"name": "w" * 40, "hostname": "worker-7f9c.example.internal", "lease_until": now() + timedelta(minutes=1), "slots": 8}
    Process.objects.create(kind="worker", version="0.0.1", queues=["default", "gpu"], **moments)
    Process.objects.create(kind="worker", ended_at=now(), **moments)
    AuditEvent.objects.create(
        action="patch_pool", actor="a.person@example.com", means="rest", object_type="pool", object_id="etl", dag_id=dag.dag_id,
        run_id=run.run_id, extra={"before": {"slots": 1}, "after": {"slots": "x" * 90}},
    )  # fmt: skip
    records = [{"id": k, "name": "n" * 60, "more": {"x": [k]}} for k in range(3)]
    value = json.dumps({"records": records, "text": "t" * 300, "deep": {"er": {"yes": True}}})
    XCom.objects.create(run=run, dag_id="orders", task_id="a", key="report", value=value)


def pages(run: Run) -> list[str]:
    of_run, of_task = f"/dags/orders/runs/{run.run_id}", f"/dags/orders/runs/{run.run_id}/tasks/a"
    return [
        "/", "/dags", "/dags?view=failing", "/dags?view=starred", "/dags?q=nothing-like-this", "/runs", "/import-errors", "/no-such-page",
        "/required-actions", "/required-actions?view=answered", "/assets", f"/assets/{Asset.objects.get().pk}", "/data",
        "/dags/orders/backfills", "/dags/orders/backfill", "/dags/orders/trends", "/dags/resting/trends", "/dags/orders/audit",
        "/dags/orders/code?v=2&diff=1", "/tasks", "/tasks?state=removed", "/logs", "/logs?q=a", "/audit",
        "/audit?who=nobody&since=soon", "/processes",
        *(f"/dags/orders{tab}" for tab in ("", "?view=table", "/graph", "/calendar", "/runs", "/tasks", "/code", "/details", "/trigger")),
        *(f"{of_run}{tab}" for tab in ("", "?tab=gantt", "?tab=events", "/clear", "/mark", "/note", "/compare", "/compare?show=all")),
        *(f"{of_task}{tab}" for tab in ("", "?tab=xcom", "?tab=rendered", "?tab=details", "/clear", "/mark", "/note")),
    ]  # fmt: skip


def dialogs(run: Run) -> list[tuple[str, Callable[[Any], None]]]:
    """A page, and what opens something over it."""
    of_run, of_task = f"/dags/orders/runs/{run.run_id}", f"/dags/orders/runs/{run.run_id}/tasks/a"
    return [
        ("/dags", openers.chosen), ("/dags", openers.many), ("/dags", openers.many_cleared), (of_run, openers.why), (of_run, openers.hint),
        ("/dags/orders/graph", openers.surroundings), ("/dags/orders", openers.run_drawer), ("/", openers.found),
        ("/dags/orders", openers.advanced), ("/", openers.click(".inc >> text=Clear…")),
        (f"/assets/{Asset.objects.get().pk}", openers.click("text=Add news…")),
        (of_task, openers.click("text=Edit note")),
        ("/dags/orders", openers.key("t")), ("/dags/orders", openers.refused), ("/dags/orders", openers.drawer), ("/dags", openers.paused),
        ("/", openers.key("?")), ("/", openers.key("Control+k")),
        (of_run, openers.key("c")), (of_run, openers.key("m")), (of_run, openers.click("text=Edit note")),
        ("/required-actions", openers.click("text=Answer…")), (f"/assets/{Asset.objects.get().pk}", openers.key("t")),
        ("/dags/orders/backfills", openers.click("text=Backfill…")),
        (of_task, openers.key("c")), (of_task, openers.key("m")), (of_task, lambda page: page.fill("[data-search]", "task")),
        ("/tasks?state=failed&days=all", openers.saved_views),
        (of_run, openers.done),  # last: the failure is gone
    ]  # fmt: skip


ALL = {"resultTypes": ["violations"]}
COLOURS = {**ALL, "runOnly": ["color-contrast", "link-in-text-block"]}
"""What another theme can change."""
SHARDS = 3
"""So that the processes of a parallel run share the pages."""


def violations(page: Any, options: dict[str, Any] = ALL) -> list[str]:
    """What axe says about the page as it stands, in lines that name the place."""
    found = page.evaluate("options => axe.run(document, options).then(r => r.violations)", options)
    return [f"{v['id']}: {n['target']} {n['failureSummary']}" for v in found for n in v["nodes"][:3]]


def in_both_themes(page: Any) -> list[str]:
    """One load, looked at in light and dark."""
    page.evaluate(AXE.read_text())
    found = [f"light {line}" for line in violations(page)]
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") != "light", "the page follows the system"
    found += [f"dark {line}" for line in violations(page, COLOURS)]
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_axe_finds_nothing_on_any_page(page: Any, seeded: Run, shard: int) -> None:
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    found: dict[str, list[str]] = {}
    for path in pages(seeded)[shard::SHARDS]:
        page.set_viewport_size({"width": 1280, "height": 844})
        page.goto(path)
        page.wait_for_selector("h1", state="attached")
        if path.endswith("/graph"):
            page.wait_for_selector("#g a.n")
        bad = in_both_themes(page)
        page.set_viewport_size({"width": 390, "height": 844})
        bad += [f"390 px {line}" for line in violations(page)]
        if bad:
            found[path] = bad
        page.complaints[:] = [c for c in page.complaints if "status of 404" not in c]  # the page of a wrong address is one of them
    assert not found, json.dumps(found, indent=1)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("shard", range(2))
def test_axe_finds_nothing_in_any_dialog(page: Any, seeded: Run, shard: int) -> None:
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    found: dict[str, list[str]] = {}
    for k, (path, act) in enumerate(dialogs(seeded)[shard::2]):
        page.goto(path)
        if "/tasks/" not in path:  # a task that is over can no longer move: its page may have nothing to be live about
            page.wait_for_selector(".live:not([hidden])")
        act(page)
        page.wait_for_selector("dialog[open], .drawer h2, .toast, mark, .bulk:visible, .dlgpage, .chain[open], .tip:not([hidden]), #g .n")
        if bad := in_both_themes(page):
            found[f"{k} {path}"] = bad
    assert not found, json.dumps(found, indent=1)
