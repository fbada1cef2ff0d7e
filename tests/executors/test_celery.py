"""Celery's own failures, made for real: workers killed, messages doubled and purged, the broker away."""

from __future__ import annotations

import base64
import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from tests.executors import world
from tests.executors.world import LONG, Site
from tests.support.server import until
from trackside.executors.base import TryRef
from trackside.executors.celery.app import TASK, make_app
from trackside.executors.celery.executor import CeleryExecutor

DAGS = """
import time
from datetime import datetime
from airflow.sdk import dag, task, get_current_context

@dag(schedule=None, start_date=datetime(2026, 1, 1))
def sleeper():
    @task
    def sleeps():
        print("asleep", flush=True)
        time.sleep(get_current_context()["dag_run"].conf.get("seconds", 0))
    sleeps()

sleeper()

@dag(schedule=None, start_date=datetime(2026, 1, 1))
def routed():
    @task(queue="red")
    def red():
        pass
    @task(queue="blue")
    def blue():
        pass
    red(), blue()

routed()
"""


@pytest.fixture(scope="module")
def site(redis_url: str) -> Iterator[Site]:
    quick = {"TRACKSIDE_HEARTBEAT": "1", "TRACKSIDE_SELF_FENCE": "6", "TRACKSIDE_KILL_GRACE": "1", "TRACKSIDE_LEASE": "10"}
    with world.site({"celery_dags.py": DAGS}, ["celery"], redis_url=redis_url, **quick) as found:
        yield found


@pytest.fixture(autouse=True)
def no_worker_stays(site: Site) -> Iterator[None]:
    import redis

    yield
    for worker in site.workers:
        if worker.poll() is None:
            site.end(worker)
    redis.Redis.from_url(site.redis_url).flushall()


def queued(site: Site, name: str = "default") -> list[dict]:
    """Messages that wait in a queue."""
    import redis

    return [json.loads(raw) for raw in redis.Redis.from_url(site.redis_url).lrange(name, 0, -1)]


def tries_of(site: Site, run: str) -> list[tuple]:
    """(state, submissions, error) of the tries of a run."""
    return site.sql("SELECT t.state, t.submissions, t.error, t.id FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id "
                    "JOIN runs_run r ON r.id = ti.run_id WHERE r.run_id = %s ORDER BY t.number", run)  # fmt: skip


def test_a_message_holds_a_reference_and_nothing_else(site: Site) -> None:
    run = site.runs("sleeper")
    message = until(lambda: queued(site), "a message was sent", LONG)[0]
    (try_id,) = [str(row[3]) for row in tries_of(site, run)]
    assert json.loads(base64.b64decode(message["body"]))[:2] == [[try_id], {}]
    assert message["content-type"] == "application/json"
    secret = (site.server.home / "data/keys/worker.token").read_text().strip()
    assert secret not in json.dumps(message)
    assert message["headers"]["task"] == TASK
    site.server.call("PATCH", f"/dags/sleeper/dagRuns/{run}", json={"state": "failed"})


def test_a_purged_broker_loses_nothing(site: Site) -> None:
    import redis

    run = site.runs("sleeper")
    until(lambda: queued(site), "a message was sent", LONG)
    redis.Redis.from_url(site.redis_url).flushall()
    site.celery_worker()
    assert site.server.wait_run("sleeper", run, LONG)["state"] == "success"
    ((state, submissions, *_),) = tries_of(site, run)
    assert (state, submissions > 1) == ("success", True)


def test_a_queue_that_is_not_there_is_empty_however_often_it_is_asked(redis_url: str) -> None:
    executor = CeleryExecutor("celery", {"TRACKSIDE_CELERY_BROKER_URL": redis_url})
    long_ago, now = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    ref = TryRef(uuid4(), 1, "dag", "task", "run", -1, 1, queue="nobody-ever-sent-here", submissions=1)
    assert [list(executor.lost([(ref, long_ago)], now)) for _ in range(3)] == [[ref.id]] * 3
    executor.close()


def test_a_message_that_comes_twice_starts_one_try(site: Site) -> None:
    run = site.runs("sleeper")
    (try_id,) = [str(row[3]) for row in until(lambda: tries_of(site, run), "there was a try", LONG)]
    until(lambda: queued(site), "a message was sent", LONG)
    app = make_app({"TRACKSIDE_CELERY_BROKER_URL": site.redis_url})
    for _ in range(3):
        app.send_task(TASK, args=[try_id], queue="default")
    app.send_task(TASK, args=["no try at all"], queue="default")
    site.celery_worker()
    assert site.server.wait_run("sleeper", run, LONG)["state"] == "success"
    until(lambda: not queued(site), "all messages were done with", LONG)
    assert [row[0] for row in tries_of(site, run)] == ["success"]
    site.server.wait_log("asleep", "sleeper", run, "sleeps", seconds=LONG)
    assert site.server.log_of("sleeper", run, "sleeps").count("asleep") == 1


def test_tries_of_a_killed_worker_run_elsewhere_without_using_a_retry(site: Site) -> None:
    doomed = site.celery_worker("--name", "doomed")
    site.server.unpause("sleeper")
    run = site.server.trigger("sleeper", {"seconds": 3})
    site.server.wait_log("asleep", "sleeper", run, "sleeps", seconds=LONG)
    site.end(doomed)
    site.celery_worker("--name", "heir")
    assert site.server.wait_run("sleeper", run, LONG)["state"] == "success"
    first, second = tries_of(site, run)
    assert (first[0], second[0]) == ("lost", "success")
    assert "did not fail by itself" in first[2]
    assert site.ti("sleeper", run, "sleeps")["max_tries"] == 1  # one more than the DAG's none: the loss was free


def test_sigterm_lets_running_tasks_finish(site: Site) -> None:
    worker = site.celery_worker()
    site.server.unpause("sleeper")
    run = site.server.trigger("sleeper", {"seconds": 4})
    site.server.wait_log("asleep", "sleeper", run, "sleeps", seconds=LONG)
    site.end(worker, signal.SIGTERM)
    assert worker.returncode == 0
    assert site.server.wait_run("sleeper", run, LONG)["state"] == "success"
    assert [row[0] for row in tries_of(site, run)] == ["success"]


def test_a_second_sigterm_ends_the_worker_and_its_try_runs_elsewhere(site: Site) -> None:
    worker = site.celery_worker("--name", "hurried")
    site.server.unpause("sleeper")
    run = site.server.trigger("sleeper", {"seconds": LONG})
    site.server.wait_log("asleep", "sleeper", run, "sleeps", seconds=LONG)
    worker.send_signal(signal.SIGTERM)
    log = site.server.home / f"celery-{len(site.workers) - 1}.log"
    until(lambda: "Warm shutdown" in log.read_text(errors="replace"), "the first signal was heard", LONG)
    site.end(worker, signal.SIGTERM)
    until(lambda: [row[0] for row in tries_of(site, run)][:1] == ["lost"], "the try was reported lost", LONG)
    site.server.call("PATCH", f"/dags/sleeper/dagRuns/{run}", json={"state": "failed"})


def test_a_queue_leads_to_the_workers_that_serve_it(site: Site) -> None:
    site.celery_worker("--queues", "red", "--name", "red")
    site.celery_worker("--queues", "blue", "--name", "blue")
    run = site.runs("routed")
    assert site.server.wait_run("routed", run, LONG)["state"] == "success"
    found = site.sql("SELECT ti.task_id, w.name FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id "
        "JOIN runs_process w ON w.id = t.worker_id "
                     "JOIN runs_run r ON r.id = ti.run_id WHERE r.run_id = %s ORDER BY 1", run)  # fmt: skip
    assert found == [("blue", "blue"), ("red", "red")]


def test_a_broker_that_is_away_is_a_wait_with_a_reason() -> None:
    if not world.can_have_redis():
        pytest.skip("no redis-server here: see tools/left-out")
    away = f"redis://127.0.0.1:{world.server.free_port()}/0"
    with world.site({"celery_dags.py": DAGS}, ["celery"], redis_url=away) as alone:
        run = alone.runs("sleeper")
        reason = "SELECT reason FROM runs_taskinstance WHERE dag_id = 'sleeper' AND state = 'queued'"
        said = until(lambda: [r for r in alone.sql(reason) if "does not answer" in str(r[0])], "the reason names the broker", LONG)
        assert away in said[0][0]
        assert alone.server.run("sleeper", run)["state"] == "running"
        with world.redis(port=int(away.split(":")[2].split("/")[0])):
            alone.celery_worker()
            assert alone.server.wait_run("sleeper", run, LONG)["state"] == "success"
            for worker in alone.workers:
                alone.end(worker)
