"""DAG bundles: configuration, git repositories with real git, buckets against a local S3 server."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trackside.runner.bundles import BadBundles, BundleConfig, BundleError, base, open_bundle, parse_bundles
from trackside.runner.bundles.gitauth import signed_in

GIT = "airflow.providers.git.bundles.git.GitDagBundle"


def git(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_CONFIG_GLOBAL": "/dev/null"}
    environment |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com"}
    return subprocess.run(["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout.strip()


def commit(repo: Path, **files: str) -> str:
    """Write files (their names without .py), commit all, and give the commit."""
    for name, text in files.items():
        (repo / "dags").mkdir(exist_ok=True)
        (repo / "dags" / f"{name}.py").write_text(text)
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "--allow-empty", "-m", "next")
    return git(repo, "rev-parse", "HEAD")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "origin"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    return folder


def bundle_of(repo: Path, storage: Path, **kwargs: Any) -> Any:
    config = BundleConfig("team", "git", {"repo_url": str(repo), "tracking_ref": "main", "subdir": "dags", **kwargs})
    return open_bundle(config, storage, lambda conn_id: None)


# Configuration


def test_airflows_configuration_is_read_as_it_is() -> None:
    text = json.dumps(
        [
            {"name": "dags-folder", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": {}},
            {"name": "a", "classpath": GIT, "kwargs": {"repo_url": "https://x/y", "tracking_ref": "main", "refresh_interval": 60}},
            {"name": "b", "classpath": "airflow.providers.amazon.aws.bundles.s3.S3DagBundle", "kwargs": {"bucket_name": "b"}},
        ]
    )
    folder, repository, bucket = parse_bundles(text, Path("/dags"))
    assert (folder.kind, folder.kwargs) == ("local", {"path": "/dags"})
    assert (repository.kind, repository.refresh_interval, repository.versioned) == ("git", 60.0, True)
    assert (bucket.kind, bucket.refresh_interval, bucket.versioned) == ("s3", 300.0, False)


def test_without_a_setting_the_dag_folder_is_the_one_bundle() -> None:
    assert parse_bundles(" ", Path("/dags")) == [BundleConfig("dags-folder", "local", {"path": "/dags"})]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"classpath": GIT}, "name None must be"),
        ({"name": "a/b"}, "name 'a/b' must be"),
        ({"name": "a", "classpath": "ftp"}, "bundle 'a': classpath 'ftp' is not known"),
        ({"name": "a", "classpath": "my.Bundle", "kwargs": {"version": "1"}}, "'version' is given to the class by Trackside"),
        ({"name": "a", "classpath": GIT, "kwargs": {"repo_url": "u"}}, "bundle 'a': tracking_ref is missing"),
        ({"name": "a", "classpath": GIT, "kwargs": {"tracking_ref": "main"}}, "repo_url or git_conn_id"),
        ({"name": "a", "classpath": GIT, "kwargs": {"tracking_ref": "--upload-pack=x", "repo_url": "u"}}, "is no branch"),
        ({"name": "a", "classpath": GIT, "kwargs": {"tracking_ref": "m", "repo_url": "u", "subdir": "../x"}}, "must lie inside"),
        ({"name": "a", "kwargs": {"bucket": "b"}}, "'bucket' is no kwarg of a local bundle"),
        ({"name": "a", "refresh_interval": 0}, "refresh_interval 0 must be"),
        ({"name": "a", "classpath": "s3", "kwargs": {}}, "bucket_name is missing"),
        ({"name": "a", "kwargs": {"view_url_template": "{sha}"}}, "knows {version} and {subdir}"),
    ],
)
def test_what_is_wrong_is_said_with_the_bundle_and_the_key(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(BadBundles, match=said.replace("{", r"\{")):
        parse_bundles(json.dumps([entry]), Path("/dags"))


@pytest.mark.parametrize(
    ("repo_url", "url"),
    [
        ("https://github.com/org/dags.git", "https://github.com/org/dags/tree/abc/d"),
        ("https://user:secret@gitlab.com/org/dags.git", "https://gitlab.com/org/dags/-/tree/abc/d"),
        ("git@bitbucket.org:org/dags.git", "https://bitbucket.org/org/dags/src/abc/d"),
        ("ssh://git@git.example.com:2222/org/dags", "https://git.example.com/org/dags/tree/abc/d"),
        ("/srv/git/dags.git", None),
    ],
)
def test_a_version_has_a_page_where_its_host_has_one(repo_url: str, url: str | None) -> None:
    assert BundleConfig("a", "git", {"repo_url": repo_url, "subdir": "d"}).url("abc") == url


# git


def test_a_refresh_brings_the_newest_commit_and_leaves_untouched_files_their_times(repo: Path, tmp_path: Path) -> None:
    first = commit(repo, a="1", b="1")
    bundle = bundle_of(repo, tmp_path / "store")
    assert bundle.version() == ""
    assert bundle.refresh() and bundle.version() == first
    before = (bundle.root / "b.py").stat().st_mtime_ns
    second = commit(repo, a="2")
    assert bundle.refresh() and bundle.version() == second
    assert (bundle.root / "a.py").read_text() == "2"
    assert (bundle.root / "b.py").stat().st_mtime_ns == before
    assert not bundle.refresh()


def test_a_version_stays_what_it_was_while_the_branch_moves_on(repo: Path, tmp_path: Path) -> None:
    first = commit(repo, a="1")
    bundle = bundle_of(repo, tmp_path / "store")
    bundle.refresh()
    commit(repo, a="2")
    bundle.refresh()
    folder, lease = bundle.materialise(first)
    assert (folder / "a.py").read_text() == "1"
    assert (bundle.root / "a.py").read_text() == "2"
    lease.release()


def test_another_machine_gets_a_version_without_ever_having_refreshed(repo: Path, tmp_path: Path) -> None:
    first = commit(repo, a="1")
    commit(repo, a="2")
    folder, lease = bundle_of(repo, tmp_path / "elsewhere").materialise(first)
    assert (folder / "a.py").read_text() == "1"
    lease.release()


def test_a_version_that_was_left_half_done_is_made_anew(repo: Path, tmp_path: Path) -> None:
    first = commit(repo, a="1", b="1")
    bundle = bundle_of(repo, tmp_path / "store")
    folder, lease = bundle.materialise(first)
    lease.release()
    (tmp_path / "store/team/versions" / f"{first}.ready").unlink()
    (folder / "b.py").unlink()
    again, lease = bundle.materialise(first)
    assert sorted(p.name for p in again.iterdir()) == ["a.py", "b.py"]
    lease.release()


def test_a_commit_that_a_forced_push_took_from_its_branch_still_runs_where_it_is_known(repo: Path, tmp_path: Path) -> None:
    commit(repo, a="1")
    lost = commit(repo, a="2")
    bundle = bundle_of(repo, tmp_path / "store")
    bundle.refresh()
    git(repo, "reset", "-q", "--hard", "HEAD~1")
    commit(repo, a="3")
    bundle.refresh()
    folder, lease = bundle.materialise(lost)
    assert (folder / "a.py").read_text() == "2"
    lease.release()


def test_a_broken_remote_leaves_the_files_and_says_which_bundle_it_is(repo: Path, tmp_path: Path) -> None:
    first = commit(repo, a="1")
    bundle = bundle_of(repo, tmp_path / "store")
    bundle.refresh()
    repo.rename(tmp_path / "away")
    with pytest.raises(BundleError, match=r"Bundle team: git fetch failed: .*origin"):
        bundle.refresh()
    assert bundle.version() == first and (bundle.root / "a.py").read_text() == "1"


def test_a_branch_or_folder_that_is_not_there_is_named(repo: Path, tmp_path: Path) -> None:
    commit(repo, a="1")
    with pytest.raises(BundleError, match=r"no branch, tag or commit 'nope'"):
        bundle_of(repo, tmp_path / "s1", tracking_ref="nope").refresh()
    with pytest.raises(BundleError, match="there is no folder elsewhere in commit"):
        bundle_of(repo, tmp_path / "s2", subdir="elsewhere").refresh()


def test_tags_and_commits_can_be_tracked(repo: Path, tmp_path: Path) -> None:
    first = commit(repo, a="1")
    git(repo, "tag", "v1")
    commit(repo, a="2")
    for number, ref in enumerate(("v1", first, first[:10])):
        bundle = bundle_of(repo, tmp_path / f"store{number}", tracking_ref=ref)
        assert bundle.refresh() and bundle.version() == first


def test_sparse_dirs_leave_the_rest_out(repo: Path, tmp_path: Path) -> None:
    (repo / "big").mkdir()
    (repo / "big/data.bin").write_text("x")
    commit(repo, a="1")
    bundle = bundle_of(repo, tmp_path / "store", sparse_dirs=["dags"])
    bundle.refresh()
    assert (bundle.root / "a.py").exists() and not (bundle.root.parent / "big").exists()


def test_versions_nobody_uses_go_after_a_while_and_used_ones_stay(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "KEEP_VERSIONS", 1)
    commits = [commit(repo, a=str(n)) for n in range(3)]
    bundle = bundle_of(repo, tmp_path / "store")
    used, lease = bundle.materialise(commits[0])
    idle, other = bundle.materialise(commits[1])
    other.release()
    for sha in commits[:2]:
        os.utime(tmp_path / "store/team/versions" / f"{sha}.ready", (1, 1))
    bundle.materialise(commits[2])[1].release()
    assert used.exists() and not idle.exists()
    lease.release()


def test_processes_of_one_machine_share_a_storage_folder(repo: Path, tmp_path: Path) -> None:
    first = commit(repo, a="1")
    found: list[str] = []

    def work() -> None:
        folder, lease = bundle_of(repo, tmp_path / "store").materialise(first)
        found.append((folder / "a.py").read_text())
        lease.release()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["1"] * 4


def test_passwords_go_to_git_in_its_environment_only() -> None:
    config = BundleConfig("a", "git", {"repo_url": "https://bob:hunter2@example.com/r.git", "tracking_ref": "main"})
    with signed_in(config, None) as (url, environment):
        assert url == "https://example.com/r.git"
        assert (environment["TS_GIT_USER"], environment["TS_GIT_PASSWORD"]) == ("bob", "hunter2")
        asked = subprocess.run(
            ["git", "credential", "fill"], input="protocol=https\nhost=example.com\n\n", env={**os.environ, **environment},
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert "password=hunter2" in asked


def test_a_private_key_lies_in_a_file_of_ours_while_git_runs() -> None:
    connection = {"host": "git@example.com:r.git", "extra": json.dumps({"private_key": "KEY", "strict_host_key_checking": "yes"})}
    config = BundleConfig("a", "git", {"git_conn_id": "g", "tracking_ref": "main"})
    with signed_in(config, connection) as (url, environment):
        words = environment["GIT_SSH_COMMAND"].split()
        key = Path(words[words.index("-i") + 1])
        assert url == "git@example.com:r.git" and "StrictHostKeyChecking=yes" in words
        assert key.read_text() == "KEY\n" and key.stat().st_mode & 0o077 == 0
    assert not key.exists()


# S3


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield {"login": "key", "password": "secret", "extra": json.dumps({"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1"})}
    server.stop()


@pytest.fixture
def bucket(s3: dict[str, str]) -> Any:
    import boto3

    extra = json.loads(s3["extra"])
    client = boto3.client("s3", aws_access_key_id="key", aws_secret_access_key="secret", **extra)
    name = f"b{time.monotonic_ns()}"
    client.create_bucket(Bucket=name)
    return name, client


def bucket_bundle(name: str, storage: Path, s3: dict[str, str], prefix: str = "dags") -> Any:
    config = BundleConfig("bucket", "s3", {"bucket_name": name, "prefix": prefix, "aws_conn_id": "s3"})
    return open_bundle(config, storage, lambda conn_id: s3)


def test_a_bucket_is_mirrored_and_only_what_changed_is_fetched(bucket: Any, s3: dict[str, str], tmp_path: Path) -> None:
    name, client = bucket
    client.put_object(Bucket=name, Key="dags/a.py", Body=b"1")
    client.put_object(Bucket=name, Key="dags/sub/b.py", Body=b"1")
    client.put_object(Bucket=name, Key="other/c.py", Body=b"1")
    bundle = bucket_bundle(name, tmp_path, s3)
    assert bundle.refresh() and not bundle.refresh()
    assert sorted(str(p.relative_to(bundle.root)) for p in bundle.root.rglob("*.py")) == ["a.py", "sub/b.py"]
    inode = (bundle.root / "a.py").stat().st_ino
    client.put_object(Bucket=name, Key="dags/sub/b.py", Body=b"2")
    assert bundle.refresh()
    assert (bundle.root / "sub/b.py").read_text() == "2" and (bundle.root / "a.py").stat().st_ino == inode
    client.delete_object(Bucket=name, Key="dags/sub/b.py")
    assert bundle.refresh() and not (bundle.root / "sub").exists()


def test_a_bucket_that_cannot_be_read_leaves_the_files(bucket: Any, s3: dict[str, str], tmp_path: Path) -> None:
    name, client = bucket
    client.put_object(Bucket=name, Key="dags/a.py", Body=b"1")
    bucket_bundle(name, tmp_path, s3).refresh()
    broken = bucket_bundle("nowhere-to-be-found", tmp_path, s3)
    with pytest.raises(BundleError, match="Bundle bucket: s3://nowhere-to-be-found/dags/ cannot be read"):
        broken.refresh()
    assert (broken.root / "a.py").read_text() == "1"


def test_objects_that_would_climb_out_of_the_folder_are_passed_over(bucket: Any, s3: dict[str, str], tmp_path: Path) -> None:
    name, client = bucket
    client.put_object(Bucket=name, Key="dags/../../evil.py", Body=b"1")
    client.put_object(Bucket=name, Key="dags/a.py", Body=b"1")
    bundle = bucket_bundle(name, tmp_path / "store", s3)
    bundle.refresh()
    assert [p.name for p in tmp_path.rglob("*.py")] == ["a.py"]
