"""S26: code of one team gets no connection and no variable of another, whichever way it asks, and cannot tell them from names that do not
exist; what was refused is in the trail. Whose a DAG is: its bundle's, else its folder's, else its tag's team.
"""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from apps.access import teams
from apps.access.models import AuditEvent, Connection, Team, Variable
from apps.access.team_form import TeamForm
from apps.access.teams import Code
from apps.dags import answers, sources
from apps.dags.models import DagFile
from apps.runs.execution import data
from apps.runs.execution.refusal import Refused
from apps.runs.models import Pool, TaskInstance
from apps.runs.tests import support
from apps.runs.tests.support import Worker, woken  # noqa: F401
from apps.runs.triggerer import facts
from trackside.runner.bundles import BundleError
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


@pytest.fixture
def owners(settings):
    """No bundle has a team: folders and tags have."""
    settings.DAG_BUNDLES = [BundleConfig("files"), BundleConfig("other")]
    Team.objects.create(name="red", folders=["red", "files:shared/red"], tags=["reds", "both"])
    Team.objects.create(name="blue", folders=["red/blue"], tags=["blues", "both"])
    return settings


def dag_in(bundle: str, path: str = "", tags: tuple[str, ...] = (), pool: str = "default_pool") -> str:
    """The id of a DAG with a run whose task waits, or is queued if its pool lets it."""
    dag_id = f"dag-{uuid.uuid4().hex[:6]}"
    dag = support.dag(support.chain("a", pool=pool), dag_id)
    dag.bundle_name = bundle
    if path:
        dag.file = DagFile.objects.create(bundle_name=bundle, path=f"/{uuid.uuid4()}/{path}", relative_path=path)
    dag.fileloc = dag.relative_fileloc = "red/claimed.py"  # a file may say so of itself
    dag.save()
    for tag in tags:
        dag.tags.create(name=tag)
    support.run(dag_id, day=2)
    return dag_id


def token_in(bundle: str, path: str = "", tags: tuple[str, ...] = ()) -> str:
    """The token of a running try of such a DAG."""
    dag_in(bundle, path, tags)
    return str(next(iter(Worker().take().values()))["token"])


def told(door: Any, token: str, **names: str) -> tuple[Any, Any]:
    """(status or None, what came), without the name that was asked for."""
    name = next(iter(names.values()))
    try:
        answer = door(token=token, **ARGUMENTS, **names)
    except Refused as e:
        return e.status, e.detail.replace(name, "…")
    return None, answer


READS = ((data.get_connection, "conn_id", "c"), (data.get_variable, "key", "v"))


def gets(token: str, team: Any) -> bool:
    """Whether connection and variable of this team come, both or none."""
    came = {told(door, token, **{name: f"{prefix}-{team}"})[0] is None for door, name, prefix in READS}
    assert len(came) == 1
    return came.pop()


def test_s26_a_task_cannot_tell_another_teams_secret_from_none_and_the_trail_says_so(site):
    token = token_in("red-files")
    for door, name, prefix in READS:
        foreign, missing = (told(door, token, **{name: f"{prefix}-{team}"}) for team in ("blue", "nope"))
        assert foreign == missing and foreign[0] == 404
    assert told(data.delete_variable, token, key="v-blue") == told(data.delete_variable, token, key="v-nope") == (None, {"deleted": 0})
    status, detail = told(data.put_variable, token, key="v-blue")
    assert status == 403 and "blue" not in detail and "canary" not in detail
    assert Variable.objects.get(key="v-blue").value == "canary-blue"
    trail = AuditEvent.objects.filter(action="secret_refused")
    assert {(e.object_type, e.object_id, e.task_id, e.means) for e in trail} == {
        ("connection", "c-blue", "a", "worker"), ("variable", "v-blue", "a", "worker")}  # fmt: skip
    assert trail.count() == 4 and "canary" not in str(list(trail.values()))
    assert data.list_variables(token=token, **ARGUMENTS)["keys"] == ["v-", "v-None", "v-red"]


@pytest.mark.parametrize("team", ["red", None, ""])
def test_s26_a_task_gets_what_is_its_teams_or_nobodys(site, team):
    token = token_in("red-files")
    assert gets(token, team)
    assert told(data.put_variable, token, key=f"v-{team}")[0] is None
    assert told(data.delete_variable, token, key=f"v-{team}") == (None, {"deleted": 1})


@pytest.mark.parametrize("bundle", ["rest", "unknown", "red", "RED-FILES", "red-files "])
def test_s26_a_bundle_without_a_team_gets_what_is_nobodys_only(site, bundle):
    token = token_in(bundle)
    assert not gets(token, "red")
    assert data.get_connection(token=token, **ARGUMENTS, conn_id="c-None")["password"] == "canary-None"


def test_s26_files_callbacks_and_triggers_ask_by_the_same_rule(site):
    for ask in (answers.answer, facts.answer):
        for kind, prefix in (("connections", "c"), ("variables", "v")):
            for code in (Code("red-files"), None, Code("rest")):
                foreign, missing = (ask("GET", f"/{kind}/{prefix}-{name}", {}, code=code) for name in ("blue", "nope"))
                assert foreign[0] == 404
                assert str(foreign).replace("blue", "nope") == str(missing)
            assert ask("GET", f"/{kind}/{prefix}-blue", {}, code=Code("blue-files"))[0] == 200
        assert ask("GET", "/variables", {}, code=Code("red-files"))[1]["keys"] == ["v-", "v-None", "v-red"]
        assert ask("GET", "/variables", {})[1]["keys"] == ["v-", "v-None"]
    assert AuditEvent.objects.filter(action="secret_refused", object_id="c-blue").count() == 6


def test_s26_a_teams_secrets_in_the_servers_environment_come_before_the_databases_and_only_to_its_code(site, monkeypatch):
    for name, value in {
        "AIRFLOW_CONN__RED___C-RED": "http://me:canary-env@host/x", "TRACKSIDE_CONN__RED___ELSEWHERE": '{"conn_type": "http", "host": "h"}',
        "AIRFLOW_VAR__RED___V-RED": "from the environment",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    mine, theirs, nobodys = token_in("red-files"), token_in("blue-files"), token_in("rest")
    assert data.get_connection(token=mine, **ARGUMENTS, conn_id="c-red")["password"] == "canary-env"
    assert data.get_connection(token=mine, **ARGUMENTS, conn_id="elsewhere")["host"] == "h"
    assert data.get_variable(token=mine, **ARGUMENTS, key="v-red")["value"] == "from the environment"
    for token in (theirs, nobodys):
        assert not gets(token, "red")
        for spelled in ("elsewhere", "_red___c-red", "_RED___elsewhere"):
            assert told(data.get_connection, token, conn_id=spelled)[0] == 404
    for ask in (answers.answer, facts.answer):
        assert ask("GET", "/connections/c-red", {}, code=Code("red-files"))[1]["password"] == "canary-env"
        assert ask("GET", "/variables/v-red", {}, code=Code("red-files"))[1]["value"] == "from the environment"
        assert ask("GET", "/connections/elsewhere", {}, code=Code("blue-files"))[0] == ask("GET", "/connections/elsewhere", {})[0] == 404


def test_s26_without_teams_nothing_of_a_team_comes_from_the_environment(site, monkeypatch):
    site.DAG_BUNDLES = [BundleConfig("rest")]
    monkeypatch.setenv("AIRFLOW_VAR__RED___ELSEWHERE", "canary-env")
    assert answers.answer("GET", "/variables/elsewhere", {}, code=Code("rest"))[0] == 404


@pytest.mark.parametrize(("bundle", "path", "tags", "team"), [
    ("files", "red/deep/x.py", (), "red"), ("files", "x.py", ("blues",), "blue"), ("files", "x.py", (), None),
])  # fmt: skip
def test_a_task_is_told_its_team(owners, bundle, path, tags, team):
    dag_in(bundle, path, tags)
    (order,) = Worker().take().values()
    assert order["run"]["team_name"] == team


def test_a_task_of_a_bundles_team_is_told_so_without_rows_of_teams(site):
    dag_in("red-files")
    (order,) = Worker().take().values()
    assert order["run"]["team_name"] == "red"


def test_s26_without_teams_names_of_teams_are_labels(site):
    site.DAG_BUNDLES = [BundleConfig("rest")]
    assert gets(token_in("rest"), "blue")
    assert answers.answer("GET", "/connections/c-red", {})[0] == 200


WHOSE = [
    ("files", "red/a.py", (), "red"),
    ("other", "red/deep/er/a.py", (), "red"),
    ("files", "red/blue/a.py", (), "blue"),
    ("files", "shared/red/a.py", (), "red"),
    ("other", "shared/red/a.py", (), None),
    ("files", "reddish/a.py", (), None),
    ("files", "red.py", (), None),
    ("files", "other/red/a.py", (), None),
    ("files", "Red/a.py", (), None),
    ("files", "a.py", ("reds",), "red"),
    ("files", "a.py", ("x", "blues"), "blue"),
    ("files", "a.py", ("both",), None),
    ("files", "a.py", ("reds", "blues"), None),
    ("files", "a.py", ("Reds", "reds ", "red"), None),
    ("files", "red/a.py", ("blues",), "red"),
    ("files", "", ("reds",), "red"),
    ("files", "", (), None),
]


@pytest.mark.parametrize(("bundle", "path", "tags", "team"), WHOSE)
def test_s26_the_team_of_a_folder_or_tag_gets_its_secrets_and_no_others(owners, bundle, path, tags, team):
    for name in ("red", "blue", None):
        Connection.objects.create(conn_id=f"c-{name}", conn_type="http", team_name=name)
        Variable.objects.create(key=f"v-{name}", value="x", team_name=name)
    token = token_in(bundle, path, tags)
    assert {name for name in ("red", "blue") if gets(token, name)} == ({team} if team else set())
    assert gets(token, None)
    assert teams.rules().team_of(Code(bundle, path, frozenset(tags))) == team


def test_s26_a_bundle_of_a_team_is_not_divided_by_folders_or_tags(owners):
    owners.DAG_BUNDLES = [BundleConfig("files", team_name="green")]
    assert teams.rules().team_of(Code("files", "red/a.py", frozenset({"blues"}))) == "green"


@pytest.mark.parametrize(("bundle", "path", "tags", "team"), [w for w in WHOSE if w[1] != "red.py"])
def test_s26_a_teams_pool_is_for_its_dags_and_the_task_says_why_it_waits(owners, bundle, path, tags, team):
    Pool.objects.create(name="reds-pool", slots=5, team_name="red")
    dag_id = dag_in(bundle, path, tags, "reds-pool")
    taken = Worker().take()
    waiting = TaskInstance.objects.get(dag_id=dag_id)
    if team == "red":
        assert taken and waiting.state == "running"
        return
    assert not taken and waiting.state == "scheduled" and waiting.reason_code == "pool_of_team"
    assert "belongs to team red" in waiting.reason and (f"of team {team}" if team else "of no team") in waiting.reason
    Pool.objects.update(team_name=None)
    support.tick()
    assert Worker().take()


def test_s26_without_teams_a_pools_team_is_a_label(settings):
    settings.DAG_BUNDLES = [BundleConfig("files")]
    Pool.objects.create(name="reds-pool", slots=5, team_name="red")
    dag_in("files", pool="reds-pool")
    assert Worker().take()


def test_s26_the_processor_fetches_a_bundle_by_the_rule_of_its_workers(site, monkeypatch):
    monkeypatch.setattr(sources, "close_old_connections", lambda: None)  # the test's own is in a transaction
    assert sources.connection_of("red-files", "c-red")["password"] == "canary-red"
    assert sources.connection_of("rest", "c-None")["password"] == "canary-None"
    for bundle, conn in (("red-files", "c-blue"), ("rest", "c-red")):
        with pytest.raises(BundleError, match="belongs to team") as e:
            sources.connection_of(bundle, conn)
        assert "canary" not in str(e.value)


@pytest.mark.parametrize("team", ['""', "1", "[]", '"' + "x" * 51 + '"'])
def test_s26_a_team_that_is_no_name_stops_the_start(team, tmp_path):
    with pytest.raises(BadBundles, match="team_name"):
        parse_bundles(f'[{{"name": "a", "team_name": {team}}}]', tmp_path)
    assert parse_bundles('[{"name": "a", "team_name": "red"}]', tmp_path)[0].team_name == "red"


def test_s26_the_form_takes_lines_and_refuses_what_is_no_folder_or_somebody_elses(owners):
    good = TeamForm({"name": " green ", "folders": "green\r\n\r\nfiles:deep/green\r\ngreen", "tags": "greens\r\nLeaf"})
    assert good.is_valid(), good.errors
    made = good.save()
    assert (made.name, made.folders, made.tags) == ("green", ["green", "files:deep/green"], ["greens", "Leaf"])
    assert TeamForm({"name": "green", "folders": "green", "tags": "greens"}, instance=made).is_valid()
    for name, text, says in (("folders", "../x", "no folder"), ("folders", "/etc", "no folder"), ("folders", ":x", "no folder"),
                             ("folders", "red/", "team red already"), ("tags", "blues", "team blue already"),
                             ("tags", "x" * 101, "longer than 100"), ("name", "red", "already exists")):  # fmt: skip
        form = TeamForm({"name": "lime", "folders": "", "tags": "", name: text})
        assert not form.is_valid() and says in str(form.errors[name]), (name, text, form.errors)
