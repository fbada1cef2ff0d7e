"""The three ways of DAG files into pods: shipped by the server, a shared volume, baked into the image."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.executors import world
from tests.executors.world import CLUSTER, LONG, Cluster, Site
from tests.support.server import until

WHERE = '''
from airflow.sdk import dag, task
from helpers.words import WORD

@dag(schedule=None, description="VERSION")
def where():
    @task
    def here():
        return [__file__, WORD, "VERSION"]
    here()

where()
'''
FILES = {"sub/where.py": WHERE.replace("VERSION", "one"), "helpers/words.py": 'WORD = "tea"\n', "helpers/__init__.py": ""}


def value(site: Site) -> list[str]:
    """What the task of a new run says about its file."""
    run = site.runs("where")
    assert site.server.wait_run("where", run, LONG)["state"] == "success", site.server.log_of("where", run, "here")
    return list(site.server.value("where", run, "here"))


def write(folder: Path) -> Path:
    """The same files in another place."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def shipping(cluster: Cluster) -> Iterator[Site]:
    with world.site(FILES, ["kubernetes"], cluster=cluster) as found:
        yield found


def test_files_are_shipped_with_what_they_import(shipping: Site) -> None:
    file, word, _ = value(shipping)
    assert file.startswith("/var/cache/trackside/")
    assert file.endswith("/sub/where.py")
    assert word == "tea"


def test_a_changed_file_is_shipped_as_it_was_parsed(shipping: Site) -> None:
    before = value(shipping)
    file = shipping.server.dags_folder / "sub/where.py"
    file.write_text(WHERE.replace("VERSION", "two"))
    until(lambda: shipping.server.get("/dags/where")["description"] == "two", "the new version was read", LONG)
    after = value(shipping)
    assert (before[2], after[2]) == ("one", "two")
    assert before[0] != after[0]


def test_files_come_from_a_shared_volume(cluster: Cluster, tmp_path: Path) -> None:
    share, template = write(tmp_path / "share"), tmp_path / "pod.yaml"
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": {
        "containers": [{"name": "base", "volumeMounts": [{"name": "dags", "mountPath": "/mnt/dags", "readOnly": True}]}],
        "volumes": [{"name": "dags", "hostPath": {"path": str(share), "type": "Directory"}}],
    }}  # fmt: skip
    if os.environ.get("KUBECONFIG"):
        pytest.skip("a folder of this machine is on no other node")
    template.write_text(yaml.safe_dump(pod))
    settings = {
        "TRACKSIDE_KUBERNETES_DAG_FILES": "shared", "TRACKSIDE_KUBERNETES_DAGS_FOLDER": "/mnt/dags",
        "TRACKSIDE_KUBERNETES_POD_TEMPLATE_FILE": str(template),
    }  # fmt: skip
    with world.site(FILES, ["kubernetes"], cluster=cluster, **settings) as site:
        assert value(site) == ["/mnt/dags/sub/where.py", "tea", "one"]


def test_files_are_baked_into_the_image(cluster: Cluster, tmp_path: Path) -> None:
    if os.environ.get("KUBECONFIG"):
        pytest.skip("images are built for our own cluster only")
    write(tmp_path / "dags")
    (tmp_path / "Dockerfile").write_text(f"FROM {cluster.image}\nCOPY dags /opt/dags\n")
    tag = f"localhost/{cluster.namespace}:1"
    subprocess.run([str(CLUSTER), "build", tag, str(tmp_path / "Dockerfile"), str(tmp_path)], check=True, capture_output=True)
    settings = {
        "TRACKSIDE_KUBERNETES_DAG_FILES": "baked", "TRACKSIDE_KUBERNETES_DAGS_FOLDER": "/opt/dags", "TRACKSIDE_KUBERNETES_IMAGE": tag,
    }  # fmt: skip
    try:
        with world.site(FILES, ["kubernetes"], cluster=cluster, **settings) as site:
            assert value(site) == ["/opt/dags/sub/where.py", "tea", "one"]
    finally:
        subprocess.run([str(CLUSTER), "ctr", "images", "rm", tag], check=False, capture_output=True)
        subprocess.run(["buildah", "rmi", tag], check=False, capture_output=True)
