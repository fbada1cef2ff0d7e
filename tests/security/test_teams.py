"""S26: code of one team gets no connection and no variable of another, whichever way it asks; what was refused is in the trail."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from apps.access.models import AuditEvent, Connection, Variable
from apps.dags import answers
from apps.dags.models import Dag
from apps.runs.execution import data
from apps.runs.execution.refusal import Refused
from apps.runs.tests import support
from apps.runs.tests.support import Worker, woken  # noqa: F401
from apps.runs.triggerer import facts
from trackside.runner.bundles.config import BadBundles, BundleConfig, parse_bundles

pytestmark = pytest.mark.django_db
ARGUMENTS: dict[str, Any] = {"body": {"value": "overwritten"}, "query": {}}


@pytest.fixture
def site(settings):
    settings.DAG_BUNDLES = [BundleConfig("red-files", team_name="red"), BundleConfig("blue-files", team_name="blue"), BundleConfig("rest")]
    for team in ("red", "blue", None, ""):
        Connection.objects.create(conn_id=f"c-{team}", conn_type="http", password=f"canary-{team}", team_name=team)
        Variable.objects.create(key=f"v-{team}", value=f"canary-{team}", team_name=team)
    return settings


def token_in(bundle: str) -> str:
    """The token of a running try of a DAG in this bundle."""
    dag_id = f"dag-{uuid.uuid4().hex[:6]}"
    support.run(support.dag(support.chain("a"), dag_id), day=2)
    Dag.objects.filter(pk=dag_id).update(bundle_name=bundle)
    return str(next(iter(Worker().take().values()))["token"])


def asked(token: str, team: Any) -> list[Any]:
    """Every door to a secret of this team, as (door, what came)."""
    found = []
    for door, names in ((data.get_connection, {"conn_id": f"c-{team}"}), (data.get_variable, {"key": f"v-{team}"}),
                        (data.put_variable, {"key": f"v-{team}"}), (data.delete_variable, {"key": f"v-{team}"})):  # fmt: skip
        try:
            found.append(door(token=token, **ARGUMENTS, **names))
        except Refused as e:
            found.append(e.status)
            assert "another team" in e.detail and "canary" not in e.detail
    return found


def test_s26_a_task_gets_nothing_of_another_team_and_the_trail_says_so(site):
    token = token_in("red-files")
    assert asked(token, "blue") == [403] * 4
    assert Variable.objects.get(key="v-blue").value == "canary-blue"
    trail = AuditEvent.objects.filter(action="secret_refused")
    assert {(e.object_type, e.object_id, e.task_id, e.means) for e in trail} == {
        ("connection", "c-blue", "a", "worker"), ("variable", "v-blue", "a", "worker")}  # fmt: skip
    assert trail.count() == 4 and "canary" not in str(list(trail.values()))
    assert data.list_variables(token=token, **ARGUMENTS)["keys"] == ["v-", "v-None", "v-red"]


@pytest.mark.parametrize("team", ["red", None, ""])
def test_s26_a_task_gets_what_is_its_teams_or_nobodys(site, team):
    assert 403 not in asked(token_in("red-files"), team)


@pytest.mark.parametrize("bundle", ["rest", "unknown", "red", "RED-FILES", "red-files "])
def test_s26_a_bundle_without_a_team_gets_what_is_nobodys_only(site, bundle):
    token = token_in(bundle)
    assert asked(token, "red") == [403] * 4
    assert data.get_connection(token=token, **ARGUMENTS, conn_id="c-None")["password"] == "canary-None"


def test_s26_files_callbacks_and_triggers_ask_by_the_same_rule(site):
    for ask in (answers.answer, facts.answer):
        for path in ("/connections/c-blue", "/variables/v-blue"):
            for bundle in ("red-files", None, "rest"):
                status, body = ask("GET", path, {}, bundle=bundle)
                assert status == 403 and "another team" in body["detail"] and "canary" not in str(body)
            assert ask("GET", path, {}, bundle="blue-files")[0] == 200
        assert ask("GET", "/variables", {}, bundle="red-files")[1]["keys"] == ["v-", "v-None", "v-red"]
        assert ask("GET", "/variables", {})[1]["keys"] == ["v-", "v-None"]


def test_s26_without_teams_of_bundles_names_of_teams_are_labels(site):
    site.DAG_BUNDLES = [BundleConfig("rest")]
    assert 403 not in asked(token_in("rest"), "blue")
    assert answers.answer("GET", "/connections/c-red", {})[0] == 200


@pytest.mark.parametrize("team", ['""', "1", "[]", '"' + "x" * 51 + '"'])
def test_s26_a_team_that_is_no_name_stops_the_start(team, tmp_path):
    with pytest.raises(BadBundles, match="team_name"):
        parse_bundles(f'[{{"name": "a", "team_name": {team}}}]', tmp_path)
    assert parse_bundles('[{"name": "a", "team_name": "red"}]', tmp_path)[0].team_name == "red"
