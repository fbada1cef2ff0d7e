"""DAGs from a folder, a git repository and a bucket side by side; a run keeps its commit while the branch moves on.

One server for the module; a second worker with a storage folder of its own stands for another machine.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import server
from tests.support.server import Server, until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("bundles")]

FROM_GIT = """
from datetime import timedelta
from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference, SyncCallback, dag, task
from helper import WORD

def tell(context):
    with open("@OUT@", "a") as out:
        out.write(f"{context['run_id']} {WORD} {__file__}\\n")

def late(context):
    with open("@OUT@-sync", "a") as out:
        out.write(f"{context['dag_run']['dag_run_id']} {WORD} {__file__}\\n")

async def late_too(context):
    import helper
    with open("@OUT@-async", "a") as out:
        out.write(f"{context['dag_run']['dag_run_id']} {helper.WORD} {__file__}\\n")

AT_ONCE = [DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(0), c) for c in (SyncCallback(late), AsyncCallback(late_too))]

@dag(schedule=None, on_success_callback=tell, deadline=AT_ONCE)
def from_git():
    @task
    def first():
        return WORD

    @task(queue="elsewhere")
    def second(before):
        import helper
        return f"{before} {helper.WORD} {__file__}"

    second(first())

from_git()
"""
SIMPLE = """
from airflow.sdk import dag, task

@dag(schedule=None)
def NAME():
    @task
    def say():
        return "WORD"

    say()

NAME()
"""

SHELF = """
import shutil
from pathlib import Path
from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion

class Shelf(BaseDagBundle):
    supports_versioning = True

    def __init__(self, *, shelf, **kwargs):
        super().__init__(**kwargs)
        self.shelf = Path(shelf)

    @property
    def path(self):
        return self.versions_dir / self.version if self.version else self.base_dir / "newest"

    def initialize(self):
        if self.version:
            shutil.copytree(self.shelf / self.version, self.path, dirs_exist_ok=True)
        super().initialize()

    def refresh(self):
        shutil.copytree(self.shelf / (self.shelf / "NEWEST").read_text(), self.path, dirs_exist_ok=True)

    def get_current_version(self):
        return BundleVersion((self.shelf / "NEWEST").read_text())
"""


def put_on_shelf(home: Path, word: str) -> None:
    (home / "shelf" / word).mkdir(parents=True)
    (home / "shelf" / word / "from_shelf.py").write_text(SIMPLE.replace("NAME", "from_shelf").replace("WORD", word))
    (home / "shelf" / "NEWEST").write_text(word)


def git(folder: Path, *arguments: str) -> str:
    who = {f"GIT_{role}_{what}": "a@b" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **who, "GIT_CONFIG_GLOBAL": "/dev/null"}
    return subprocess.run(["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout.strip()


def commit(repo: Path, word: str) -> str:
    (repo / "dags").mkdir(exist_ok=True)
    (repo / "dags/from_git.py").write_text(FROM_GIT.replace("@OUT@", str(repo.with_name("told"))))
    (repo / "dags/helper.py").write_text(f"WORD = {word!r}\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", word)
    return git(repo, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    folder = server.temporary_home("trackside-bundles-")
    yield folder
    server.remove(folder)


@pytest.fixture(scope="module")
def repo(home: Path) -> Path:
    folder = home / "origin"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "one")
    return folder


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The URL of a local S3 server with a DAG in its bucket."""
    import boto3
    from moto.server import ThreadedMotoServer

    s3 = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    s3.start()
    host, port = s3.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client("s3", endpoint_url=url, aws_access_key_id="k", aws_secret_access_key="s", region_name="us-east-1")
    client.create_bucket(Bucket="dags")
    client.put_object(Bucket="dags", Key="p/from_bucket.py", Body=SIMPLE.replace("NAME", "from_bucket").replace("WORD", "bucket").encode())
    yield url
    s3.stop()


@pytest.fixture(scope="module")
def running(home: Path, repo: Path, bucket: str) -> Iterator[Server]:
    dags = home / "dags"
    dags.mkdir()
    (dags / "from_folder.py").write_text(SIMPLE.replace("NAME", "from_folder").replace("WORD", "folder"))
    aws = {"conn_type": "aws", "login": "k", "password": "s", "extra": {"endpoint_url": bucket, "region_name": "us-east-1"}}
    bundles = [
        {"name": "dags-folder", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": {}},
        {"name": "code", "classpath": "airflow.providers.git.bundles.git.GitDagBundle",
         "kwargs": {"repo_url": str(repo), "tracking_ref": "main", "subdir": "dags", "view_url_template": "https://x/{version}/{subdir}"},
         "refresh_interval": 1},
        {"name": "bucket", "classpath": "airflow.providers.amazon.aws.bundles.s3.S3DagBundle",
         "kwargs": {"bucket_name": "dags", "prefix": "p", "aws_conn_id": "aws_dags"}, "refresh_interval": 1},
        {"name": "own", "classpath": "shelf_bundle.Shelf", "kwargs": {"shelf": str(home / "shelf")}, "refresh_interval": 1},
        {"name": "broken", "classpath": "shelf_bundle.Shelf", "kwargs": {"shelves": 3}},
    ]  # fmt: skip
    put_on_shelf(home, "one")
    (home / "data/plugins").mkdir(parents=True, exist_ok=True)
    (home / "data/plugins/shelf_bundle.py").write_text(SHELF)
    found = server.start(home, dags, environment={"TRACKSIDE_DAG_BUNDLES": json.dumps(bundles)})
    try:
        found.add_connection("aws_dags", **{**aws, "extra": json.dumps(aws["extra"])})
        yield found
    finally:
        found.stop()


@pytest.fixture(scope="module")
def elsewhere(running: Server, home: Path) -> Iterator[None]:
    """A worker for the queue `elsewhere` that shares no files with the server."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TRACKSIDE_") and k != "DATABASE_URL"}
    environment = {
        **clean, "TRACKSIDE_API_URL": running.url, "TRACKSIDE_WORKER_TOKEN_FILE": str(home / "data/keys/worker.token"),
        "TRACKSIDE_QUEUES": "elsewhere", "TRACKSIDE_HOME": str(home / "other-machine"), "TRACKSIDE_WORKER_CWD": str(home),
    }  # fmt: skip
    with (home / "worker.log").open("wb") as out:
        worker = subprocess.Popen([str(Path(sys.executable).parent / "trackside"), "worker"], env=environment, stdout=out, stderr=out)
    yield
    worker.send_signal(signal.SIGTERM)
    worker.wait(30)


def version_of(running: Server, dag_id: str) -> str | None:
    version: str | None = running.get(f"/dags/{dag_id}")["bundle_version"]
    return version


def test_dags_of_all_bundles_run_and_tell_where_they_come_from(running: Server) -> None:
    for dag_id, bundle, word in (("from_folder", "dags-folder", "folder"), ("from_bucket", "bucket", "bucket")):
        run = running.run_dag(dag_id)
        assert (run["state"], run["bundle_version"]) == ("success", None)
        assert running.value(dag_id, run["dag_run_id"], "say") == word
        dag = running.get(f"/dags/{dag_id}")
        assert (dag["bundle_name"], dag["relative_fileloc"]) == (bundle, f"{dag_id}.py")


def test_a_run_of_an_own_kind_of_bundle_keeps_its_version_and_a_broken_one_is_named(running: Server, home: Path) -> None:
    running.unpause("from_shelf")
    run_id = running.trigger("from_shelf")
    run = running.wait_run("from_shelf", run_id)
    assert (run["state"], run["bundle_version"]) == ("success", "one"), running.describe("from_shelf", run_id)
    assert running.value("from_shelf", run_id, "say") == "one"
    put_on_shelf(home, "two")
    until(lambda: version_of(running, "from_shelf") == "two", "the new version was parsed")
    running.clear("from_shelf", run_id, "say")
    assert running.wait_run("from_shelf", run_id)["bundle_version"] == "one"
    assert running.value("from_shelf", run_id, "say") == "one"
    assert running.value("from_shelf", running.run_dag("from_shelf")["dag_run_id"], "say") == "two"
    problems = running.get("/importErrors")["import_errors"]
    (said,) = [e["stack_trace"] for e in problems if e["bundle_name"] == "broken"]
    assert "Bundle broken: shelf_bundle.Shelf failed: TypeError" in said and "argument: 'shelf'" in said


def told(repo: Path, run_id: str, times: int, name: str = "told") -> list[str]:
    """What the callback of a run said at the end of it, each time."""
    file = repo.with_name(name)

    def lines() -> list[str] | None:
        found = [line.partition(" ")[2] for line in file.read_text().splitlines() if line.startswith(run_id)] if file.exists() else []
        return found if len(found) >= times else None

    return until(lines, f"its callback ran {times} times")


def test_a_run_keeps_its_commit_on_every_worker_until_it_is_cleared_to_the_latest(running: Server, repo: Path, elsewhere: None) -> None:
    old = git(repo, "rev-parse", "HEAD")
    running.unpause("from_git")
    assert version_of(running, "from_git") == old
    run_id = running.trigger("from_git")
    run = running.wait_run("from_git", run_id)
    assert (run["state"], run["bundle_version"]) == ("success", old), running.describe("from_git", run_id)
    said = running.value("from_git", run_id, "second")
    assert told(repo, run_id, 1)[0].startswith("one ")
    assert said.startswith("one one ") and f"other-machine/bundles/code/versions/{old}/dags/from_git.py" in said

    new = commit(repo, "two")
    until(lambda: version_of(running, "from_git") == new, "the new commit was parsed")
    version = running.get("/dags/from_git/dagVersions")["dag_versions"][-1]
    assert (version["bundle_version"], version["bundle_url"]) == (new, f"https://x/{new}/dags")

    running.clear("from_git", run_id, "first")
    assert running.wait_run("from_git", run_id)["bundle_version"] == old
    assert running.value("from_git", run_id, "second").startswith("one one ")
    assert told(repo, run_id, 2)[1].endswith(f"/code/versions/{old}/dags/from_git.py")  # the run's, not the newest
    assert told(repo, run_id, 2)[1].startswith("one ")
    for name in ("told-sync", "told-async"):  # callbacks of deadlines: the first one before the commit moved on, the second after
        assert told(repo, run_id, 2, name)[1] == f"one {running.home}/data/bundles/code/versions/{old}/dags/from_git.py"

    body = {"dry_run": False, "run_on_latest_version": True}
    running.call("POST", f"/dags/from_git/dagRuns/{run_id}/clear", json=body)
    assert running.wait_run("from_git", run_id)["bundle_version"] == new
    assert running.value("from_git", run_id, "second").startswith("two two ")
    assert told(repo, run_id, 3)[2].startswith("two ")


def test_a_remote_that_is_gone_takes_no_dag_away_and_says_so(running: Server, repo: Path, elsewhere: None) -> None:
    assert running.run_dag("from_git")["state"] == "success"  # from here on every worker has the commit
    away = repo.with_name("away")

    def problems() -> list[str]:
        return [e["stack_trace"] for e in running.get("/importErrors")["import_errors"] if e["bundle_name"] == "code"]

    repo.rename(away)
    try:
        (said,) = until(problems, "the broken remote was shown")
        assert "Bundle code: git fetch failed" in said
        assert running.run_dag("from_git")["state"] == "success"
    finally:
        away.rename(repo)
    until(lambda: not problems(), "the remote was well again")
    assert not running.get("/dags/from_git")["is_stale"]


def test_a_changed_object_reaches_the_next_run(running: Server, bucket: str) -> None:
    import boto3

    client = boto3.client("s3", endpoint_url=bucket, aws_access_key_id="k", aws_secret_access_key="s", region_name="us-east-1")
    client.put_object(Bucket="dags", Key="p/from_bucket.py", Body=SIMPLE.replace("NAME", "from_bucket").replace("WORD", "changed").encode())
    until(lambda: "changed" in running.get("/dagSources/from_bucket")["content"], "the changed object was parsed")
    run = running.run_dag("from_bucket")
    assert running.value("from_bucket", run["dag_run_id"], "say") == "changed"
