"""Every operation against every role, and what people without a role get to see of DAGs that name their group."""

from __future__ import annotations

import pytest

from apps.access import policy
from apps.access.rest.operations import AIRFLOW, PUBLIC, REGISTRY
from apps.access.tests.resthelp import Api, person
from apps.runs.tests.restworld import make_dag, make_run
from apps.ui.api import urls

pytestmark = pytest.mark.django_db
_READ_ONLY_POSTS = {"get_list_dag_runs_batch", "get_task_instances_batch", "favorite_dag", "unfavorite_dag"}
_OP_ONLY = ("/pools", "/connections", "/variables")


def lowest_role(operation):
    """Airflow's table of roles, written down a second time."""
    if operation.path.startswith(("/connections", "/variables")):
        return "Op"
    if operation.method == "GET" or operation.id in _READ_ONLY_POSTS:
        return "Viewer"
    return "Op" if operation.path.startswith("/pools") or "/assets" in operation.path else "User"


def test_every_operation_is_open_from_its_lowest_role_upwards():
    assert urls.urlpatterns
    make_run(make_dag("d"), "r")
    apis = {role: Api(role) for role in (None, *policy.ROLES)}
    for operation in REGISTRY:
        if operation.may == PUBLIC or operation.base != AIRFLOW or operation.id == "wait_dag_run_until_finished":
            continue
        path = operation.path.replace(":path", "").replace("{dag_id}", "nope").replace("{", "").replace("}", "")
        order = [None, *policy.ROLES]
        for role, api in apis.items():
            status = api.call(operation.method, path, {} if operation.body is not None else None).status_code
            closed = order.index(role) < order.index(lowest_role(operation))
            refused_for_all = operation.id in ("get_config", "get_config_value", "test_connection", "enqueue_connection_test")
            assert (status == 403) == closed or (refused_for_all and status in (403, 422)), (operation.id, role, status)


def test_a_group_named_by_a_dag_file_sees_that_dag_and_no_other():
    make_run(make_dag("own", tags=("seen",), spec={"access_control": {"team": ["can_read"]}}), "r_own")
    make_run(make_dag("foreign", tags=("hidden",)), "r_foreign")
    api = Api("team")
    for path in (
        "/dags",
        "/dags/~/dagRuns",
        "/dags/~/dagRuns/~/taskInstances",
        "/dags/~/dagRuns/~/taskInstances/~/xcomEntries",
        "/dags/~/dagVersions",
    ):
        response = api.call("GET", path)
        assert (response.status_code, b"foreign" in response.content) in ((200, False), (403, False)), path
    assert [r["dag_run_id"] for r in api.get("/dags/~/dagRuns")[1]["dag_runs"]] == ["r_own"]
    assert api.get("/dags/own")[0] == 200
    assert api.get("/dags/foreign")[0] == 403
    assert api("PATCH", "/dags/own", {"is_paused": True})[0] == 403
    body = {"dag_ids": ["foreign"]}
    assert api("POST", "/dags/~/dagRuns/list", body)[1] == {
        "dag_runs": [],
        "total_entries": 0,
        "total_entries_limit": None,
        "next_cursor": None,
        "previous_cursor": None,
    }


def test_a_mixed_bulk_call_changes_only_what_the_caller_may():
    make_run(make_dag("own", spec={"access_control": {"team": ["can_read", "can_edit"]}}), "r")
    foreign = make_run(make_dag("foreign"), "r")
    api = Api("team")
    entities = [{"dag_id": "own", "dag_run_id": "r", "note": "x"}, {"dag_id": "foreign", "dag_run_id": "r", "note": "x"}]
    status, _ = api("PATCH", "/dags/~/dagRuns", {"actions": [{"action": "update", "entities": entities}]})
    assert status == 403
    foreign.refresh_from_db()
    assert foreign.note is None


@pytest.mark.parametrize("name", ["DAGs", "*", "~", "all", "admin", "own "])
def test_no_dag_id_is_mistaken_for_a_right(name):
    make_dag("own", spec={"access_control": {"team": ["can_read"]}})
    user = person("team")
    assert not policy.allowed(user, "read", "dag", name)
    assert policy.allowed(user, "read", "dag", "own")
    assert not policy.allowed(user, "delete", "dag", "own")


def test_nobody_and_disabled_people_may_do_nothing():
    make_dag("d")
    disabled = person("Admin", is_active=False)
    for user in (None, disabled):
        for kind in policy.KINDS:
            for action in policy.ACTIONS:
                assert not policy.allowed(user, action, kind, "d")
    with pytest.raises(ValueError, match="no such right"):
        policy.allowed(disabled, "read", "dags")
