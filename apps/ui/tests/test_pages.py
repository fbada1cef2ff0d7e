"""Pages: what they show, that they read without scripts, and that their statements do not grow with the rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.timezone import now

from apps.access.models import User
from apps.dags.models import DagFile, ImportProblem
from apps.runs.models import Run, TaskInstance
from apps.ui.tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def mara(client: Client) -> Client:
    client.force_login(factories.user())
    return client


def statements(call: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as caught:
        response = call()
    assert response.status_code == 200
    return len(caught)


def text(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def test_nobody_sees_a_page_without_signing_in(client: Client) -> None:
    run = factories.run(factories.dag())
    for url in [
        reverse("home"),
        reverse("dags"),
        reverse("dag", args=["orders"]),
        reverse("run", args=["orders", run.run_id]),
        reverse("grid_data", args=["orders"]),
    ]:
        response = client.get(url)
        assert response.status_code == 302
        assert response["location"].startswith(reverse("login"))


def test_a_person_without_a_role_sees_no_dag(client: Client) -> None:
    factories.dag("secret_plans")
    client.force_login(User.objects.create_user("guest"))
    assert "secret_plans" not in client.get(reverse("dags")).content.decode()
    assert client.get(reverse("dag", args=["secret_plans"])).status_code == 403
    assert client.get(reverse("grid_data", args=["secret_plans"])).status_code == 403


def test_signing_in_leads_to_the_page_that_was_asked_for(client: Client) -> None:
    factories.user()
    response = client.post(reverse("login") + "?next=/dags", {"username": "mara", "password": "mara", "next": "/dags"})
    assert response["location"] == "/dags"


def test_a_wrong_password_is_told_on_the_page(client: Client) -> None:
    factories.user()
    response = client.post(reverse("login"), {"username": "mara", "password": "wrong"})
    assert 'role="alert"' in response.content.decode()


@pytest.mark.parametrize("name", ["home", "dags", "runs", "import_errors"])
def test_every_page_works_on_an_empty_server(mara: Client, name: str) -> None:
    response = mara.get(reverse(name))
    assert response.status_code == 200
    page = response.content.decode()
    assert page.count("<h1") == 1 and 'id="main"' in page and 'class="skip"' in page


def test_no_page_carries_inline_styles_or_scripts_which_the_content_policy_would_block(mara: Client) -> None:
    dag = factories.dag(made=factories.spec("orders", ["a", "g.b"], {"g": ["g.b"]}))
    run = factories.run(dag, state="failed", states={"a": "failed"}, reason="a failed.")
    urls = [reverse(n) for n in ("home", "dags", "runs", "import_errors")] + [
        reverse(n, args=["orders"]) for n in ("dag", "dag_graph", "dag_runs", "dag_tasks", "dag_code", "dag_details", "dag_trigger")
    ]
    urls += [reverse("run", args=["orders", run.run_id]) + f"?tab={t}" for t in ("tasks", "gantt", "events")]
    urls += [reverse("task", args=["orders", run.run_id, "a"]) + f"?tab={t}" for t in ("log", "xcom", "rendered", "details")]
    urls += [reverse("dag", args=["orders"]) + "?view=table"]
    for url in urls:
        response = mara.get(url)
        page = response.content.decode()
        assert response.status_code == 200, url
        assert " style=" not in page and "<style" not in page and not re.search(r"<script(?![^>]*src=)", page), url
        assert "'unsafe-inline'" not in response["Content-Security-Policy"]


def test_the_list_shows_state_reason_and_schedule_of_each_dag(mara: Client) -> None:
    dag = factories.dag(timetable_description="Hourly at :00", next_run_after=now() + timedelta(minutes=28, seconds=30))
    run = factories.run(dag, state="failed", states={"load": "failed"})
    TaskInstance.objects.filter(run=run, task_id="load").update(reason="warehouse refused the connection.")
    shown = text(mara.get(reverse("dags")))
    assert "Failed" in shown and "load: warehouse refused the connection." in shown
    assert "Hourly at :00" in shown and "in 28 min" in shown


def test_the_list_filters_by_view_name_and_tag(mara: Client) -> None:
    good, bad = factories.dag("good"), factories.dag("bad")
    factories.run(good)
    factories.run(bad, state="failed")
    good.tags.create(name="tier-1")
    names = lambda query: set(re.findall(r'data-dag="([^"]+)"', mara.get(reverse("dags") + query).content.decode()))  # noqa: E731
    assert names("") == {"good", "bad"}
    assert names("?view=failing") == {"bad"}
    assert names("?q=goo") == {"good"}
    assert names("?tag=tier-1") == {"good"}
    assert names("?q=nothing-like-this") == set()


def test_the_list_needs_the_same_statements_for_any_number_of_dags(mara: Client) -> None:
    factories.run(factories.dag("first"), state="failed", states={"load": "failed"})
    few = statements(lambda: mara.get(reverse("dags")))
    for k in range(12):
        for _ in range(2):
            factories.run(factories.dag(f"d{k}") if _ == 0 else factories.Dag.objects.get(pk=f"d{k}"), state=["failed", "running"][k % 2])
    assert statements(lambda: mara.get(reverse("dags"))) == few
    assert few <= 13


def test_a_run_needs_the_same_statements_for_any_number_of_tasks(mara: Client) -> None:
    small, large = factories.dag("small"), factories.dag("large", [f"t{k}" for k in range(120)])
    runs = [factories.run(small, state="running"), factories.run(large, state="running")]
    counts = [statements(lambda run=run: mara.get(reverse("run", args=[run.dag_id, run.run_id]) + "?tab=gantt")) for run in runs]
    assert counts[0] == counts[1] <= 14


def test_lists_of_runs_need_the_same_statements_for_any_number_of_runs(mara: Client) -> None:
    dag = factories.dag()
    factories.run(dag)
    mara.get(reverse("dag_runs", args=["orders"]))  # the DAG's structure is kept from now on
    few = statements(lambda: mara.get(reverse("dag_runs", args=["orders"])))
    for k in range(20):
        factories.run(dag, at=now() - timedelta(hours=k))
    assert statements(lambda: mara.get(reverse("dag_runs", args=["orders"]))) == few


def test_home_names_what_fails_and_what_does_not_load(mara: Client) -> None:
    run = factories.run(factories.dag(), state="failed", states={"load": "failed"})
    TaskInstance.objects.filter(run=run, task_id="load").update(reason="disk full.")
    file = DagFile.objects.create(relative_path="broken.py", path="/dags/broken.py")
    ImportProblem.objects.create(file=file, message="Line 3: NameError.")
    shown = text(mara.get(reverse("home")))
    assert "1 DAG fails, 1 file does not load" in shown
    assert "disk full." in shown and "broken.py" in shown and "Line 3: NameError." in shown


def test_every_waiting_task_of_a_run_shows_its_reason(mara: Client) -> None:
    run = factories.run(factories.dag(), state="running", states={"extract": "queued"})
    TaskInstance.objects.filter(run=run, task_id="extract").update(reason="Pool etl is full, 3rd in line.")
    assert "Pool etl is full, 3rd in line." in text(mara.get(reverse("run", args=["orders", run.run_id])))


def test_a_going_run_that_will_fail_says_so_and_what_never_ran_took_no_time(mara: Client) -> None:
    run = factories.run(factories.dag(), state="running", states={"extract": "running", "load": "failed", "check": "upstream_failed"})
    TaskInstance.objects.filter(run=run, task_id="load").update(reason="Disk full.", try_number=1, start_date=now(), end_date=now())
    TaskInstance.objects.filter(run=run, task_id="check").update(try_number=0, start_date=now(), end_date=now())
    page = mara.get(reverse("run", args=["orders", run.run_id])).content.decode()
    assert re.search(r'<div class="why" data-s="failed">.*>load</a></b> Disk full\.', page)
    took = re.findall(r'data-task="(\w+)".*?<td class="num t2 nowrap">(.*?)</td>', page, re.S)
    assert [(task, bool(text)) for task, text in took] == [("extract", True), ("load", True), ("check", False)]


def test_a_task_shows_its_error_its_tries_and_its_values(mara: Client) -> None:
    run = factories.run(factories.dag(), state="failed", states={"load": "failed"})
    ti = TaskInstance.objects.get(run=run, task_id="load")
    factories.a_try(ti, state="failed", final_state="failed", error="ValueError: no rows.", exit_code=1)
    run.xcoms.create(
        dag_id="orders", task_id="load", key="return_value", value='{"__classname__": "x", "__version__": 1, "__data__": {"rows": 7}}'
    )
    url = reverse("task", args=["orders", run.run_id, "load"])
    shown = text(mara.get(url))
    assert "ValueError: no rows." in shown and "Try 1" in shown and "code 1" in shown
    values = mara.get(url + "?tab=xcom").content.decode()
    assert '<span class="vk">rows</span> <span class="v-number">7</span>' in values and "__classname__" not in values


def test_markup_in_names_notes_and_errors_stays_text(mara: Client) -> None:
    run = factories.run(factories.dag(), state="failed", reason="<img src=x onerror=alert(1)>", note="<script>alert(2)</script>")
    page = mara.get(reverse("run", args=["orders", run.run_id])).content.decode()
    assert "<img src=x" not in page and "<script>alert" not in page


def test_what_does_not_exist_is_a_404_that_says_what_is_missing(mara: Client) -> None:
    factories.dag()
    response = mara.get(reverse("run", args=["orders", "nowhere"]))
    assert response.status_code == 404
    assert "has no run nowhere" in text(response)
    assert mara.get(reverse("dag", args=["nothing"])).status_code == 404


def test_times_are_told_in_the_readers_zone(mara: Client) -> None:
    run = factories.run(factories.dag(), at=now().replace(hour=12, minute=0, second=0, microsecond=0))
    mara.cookies["tz"] = "Asia%2FTokyo"
    assert "21:00" in text(mara.get(reverse("run", args=["orders", run.run_id])))
    mara.cookies["tz"] = "No%2FSuchPlace"
    assert "12:00" in text(mara.get(reverse("run", args=["orders", run.run_id])))


def test_the_table_view_of_the_grid_holds_the_same_states(mara: Client) -> None:
    dag = factories.dag()
    factories.run(dag, state="failed", states={"load": "failed", "check": "upstream_failed"})
    shown = text(mara.get(reverse("dag", args=["orders"]) + "?view=table"))
    assert "Failed" in shown and "Upstream failed" in shown and "Success" in shown


def test_the_newest_run_comes_first_and_has_neighbours(mara: Client) -> None:
    dag = factories.dag()
    old = factories.run(dag, at=now() - timedelta(hours=2))
    middle = factories.run(dag, at=now() - timedelta(hours=1))
    new = factories.run(dag)
    page = mara.get(reverse("run", args=["orders", middle.run_id])).content.decode()
    assert reverse("run", args=["orders", old.run_id]) in page and reverse("run", args=["orders", new.run_id]) in page
    listed = re.findall(r"manual__\w+", mara.get(reverse("dag_runs", args=["orders"])).content.decode())
    order = [r for r in dict.fromkeys(listed) if Run.objects.filter(run_id=r).exists()]
    assert [r for r in order if r in (old.run_id, middle.run_id, new.run_id)][-3:] != [old.run_id, middle.run_id, new.run_id]


@pytest.mark.parametrize("path", ["/dags", "/login", "/account", "/docs"])
def test_rows_are_comfortable_in_the_browser_that_chose_so_on_every_page(mara: Client, path: str) -> None:
    if path == "/login":
        mara.logout()

    def tag(address: str) -> str:
        return next(line for line in mara.get(address).content.decode().splitlines() if line.startswith("<html"))

    assert "data-density" not in tag(path) and "data-density" not in tag(f"{path}?density=nonsense")
    assert 'data-density="comfortable"' in tag(f"{path}?density=comfortable")
    mara.cookies["density"] = "comfortable"
    assert 'data-density="comfortable"' in tag(path) and "data-density" not in tag(f"{path}?density=compact")
    mara.cookies["theme"] = "dark"
    assert 'data-theme="dark" data-density="comfortable"' in tag(path)
