"""Published provider packages beside Trackside do their work: HTTP, sqlite, PostgreSQL and S3, at once and deferred."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import httpx
import pytest

from tests.support.server import Server

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("providers"), pytest.mark.timeout(600)]


def ended(stack: Server, dag_id: str) -> tuple[str, dict[str, str | None]]:
    """(run id, states) of the finished run of a DAG. All DAGs are started with the first question: they wait side by side."""
    for each in sorted(path.stem for path in stack.dags_folder.glob("provider_*.py")):
        if each not in RUNS:
            stack.wait_dag(each, seconds=180)
            stack.unpause(each)
            RUNS[each] = stack.trigger(each)
    stack.wait_run(dag_id, RUNS[dag_id], seconds=180)
    return RUNS[dag_id], stack.states(dag_id, RUNS[dag_id])


RUNS: dict[str, str] = {}
"""DAG → its run on the stack of this session."""


def plain(value: Any) -> Any:
    """A value as REST gives it, with tuples as lists."""
    if isinstance(value, dict) and value.get("__classname__") == "builtins.tuple":
        return plain(value["__data__"])
    return [plain(item) for item in value] if isinstance(value, list) else value


def why(stack: Server, dag_id: str, run: str, states: dict[str, str | None], wanted: set[str | None]) -> str:
    """Logs of tasks that ended otherwise, for a failed test."""
    lost = [name for name, state in states.items() if state not in wanted]
    return "\n".join(f"--- {name}: {states[name]}\n{stack.log_of(dag_id, run, name)[-3000:]}" for name in lost[:3])


def test_http_operators_and_sensors_wait_and_ask_also_when_deferred(stack: Server):
    run, states = ended(stack, "provider_http")
    refused = states.pop("refused")
    assert set(states.values()) == {"success"}, why(stack, "provider_http", run, states, {"success"})
    got = stack.value("provider_http", run, "get")
    assert got["path"] == "/echo?q=provider_http" and got["run"] == run
    # The server saw the credentials (their digest says so); who reads the XCom does not.
    sent = hashlib.sha256(b"Basic " + base64.b64encode(b"ann:s3cret word")).hexdigest()
    assert (got["sha256"], got["authorization"], got["extra"]) == (sent, "***", "from the connection")
    assert stack.value("provider_http", run, "hook") == sent
    assert stack.value("provider_http", run, "post") == '{"a": 1}'
    assert stack.value("provider_http", run, "pages") == [1, 2, 3]
    assert stack.value("provider_http", run, "later") == "/echo"
    assert refused == "failed"
    log = stack.log_of("provider_http", run, "refused")
    assert "404" in log and "s3cret word" not in log


def test_sql_operators_checks_branches_and_transfers_work_on_sqlite_and_postgres(stack: Server):
    run, states = ended(stack, "provider_sql")
    few = {states.pop("sqlite.few"), states.pop("postgres.few")}
    assert set(states.values()) == {"success"}, why(stack, "provider_sql", run, states, {"success"})
    assert few == {"skipped"}
    for system in ("sqlite", "postgres"):
        assert plain(stack.value("provider_sql", run, f"{system}.read")) == [[2, "ben"], [3, "cy"]]
    hooks = stack.value("provider_sql", run, "hooks")
    assert hooks["sqlite"] == 3 and hooks["primary"] == ["id"]
    assert hooks["postgres"] == [[101, "ann"], [102, "ben"], [103, "cy"], [200, "eve"]]
    assert plain(stack.value("provider_sql", run, "decorated")) == [[4]]
    events = stack.get("/assets/events", source_dag_id="provider_sql")["asset_events"]
    assert [event["name"] for event in events][:1] == ["postgres://warehouse:5432/db/public/provider_orders"]


def test_amazon_operators_and_sensors_work_on_a_local_s3_also_when_deferred(stack: Server):
    run, states = ended(stack, "provider_s3")
    assert set(states.values()) == {"success"}, why(stack, "provider_s3", run, states, {"success"})
    assert stack.value("provider_s3", run, "read") == "a,b\n1,2"
    assert sorted(stack.value("provider_s3", run, "names")) == ["code.py", "in/provider_s3.csv", "out/copy.csv"]
    waited = stack.log_of("provider_s3", run, "await")
    assert "a-secret-key" not in waited


def test_links_of_an_operator_lead_to_the_other_system(stack: Server):
    run, _ = ended(stack, "provider_s3")
    links = stack.get(f"/dags/provider_s3/dagRuns/{run}/taskInstances/execute/links")["extra_links"]
    assert "State Machine Details" in links and "console.aws.amazon.com/states" in links["State Machine Details"]


def test_the_pod_operator_runs_a_pod_and_brings_its_log(stack: Server):
    run, states = ended(stack, "provider_pod")
    assert states == {"pod": "success"}, why(stack, "provider_pod", run, states, {"success"})
    assert f"ran echo {run}" in stack.wait_log("ran echo", "provider_pod", run, "pod")


def test_rest_and_the_admin_know_the_installed_packages(stack: Server):
    listed = {entry["package_name"]: entry for entry in stack.get("/providers")["providers"]}
    http = listed["apache-airflow-providers-http"]
    assert (http["version"], http["description"]) == ("6.3.0", "Hypertext Transfer Protocol (HTTP)")
    assert http["documentation_url"].startswith("https://airflow.apache.org/docs/apache-airflow-providers-http/6.3.0")
    assert "trackside" in listed and len(listed) > 10
    page = signed_in(stack).get("/admin/access/connection/add/?conn_type=chime").text
    assert "Amazon Chime Webhook" in page and "Chime Webhook Endpoint" in page and 'name="login"' not in page


def signed_in(stack: Server) -> httpx.Client:
    """A browser's session of the administrator in the admin site."""
    browser = httpx.Client(base_url=stack.url, follow_redirects=True, trust_env=False, timeout=30)
    page = browser.get("/admin/login/")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token is not None, page.text[:500]
    form = {"username": stack.user, "password": stack.password, "csrfmiddlewaretoken": token.group(1)}
    browser.post(str(page.url), data=form, headers={"Referer": str(page.url)})
    return browser
