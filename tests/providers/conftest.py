"""For the tests of provider packages: the environment they are installed in, and one stack that runs with it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.providers import environment, httpserver, kubeserver
from tests.support import server


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter beside which the packages are installed."""
    return environment.make()


@pytest.fixture(scope="session")
def aws(python: Path) -> Iterator[str]:
    """Address of a local AWS."""
    port = server.free_port()
    command = [str(python), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet, preexec_fn=server._die_with_parent)
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/moto-api/", timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    try:
        server.until(answers, "the local AWS answered", pause=0.1)
        yield url
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def stack(python: Path, aws: str) -> Iterator[server.Server]:
    """A running Trackside beside which the packages are installed, with the connections that the DAG files name."""
    home = server.temporary_home("trackside-providers-")
    dags = home / "dags"
    shutil.copytree(Path(__file__).parent / "dags", dags, ignore=shutil.ignore_patterns("__pycache__"))
    web, cluster = httpserver.start(), kubeserver.start()
    running = None
    try:
        slow = {"TRACKSIDE_PARSE_TIMEOUT": "170"}  # libraries of thousands of modules, not compiled yet, on a busy machine
        running = server.start(home, dags, python=python, environment=slow)
        _connections(running, web.server_port, aws, home)
        config = json.dumps({"kube_config": json.dumps(kubeserver.kubeconfig(cluster.server_port))})
        running.add_connection("provider_kubernetes", conn_type="kubernetes", extra=config)
        yield running
    finally:
        if running is not None:
            running.stop()
        for each in (web, cluster):
            each.shutdown()
            each.server_close()
        server.remove(home)


def _connections(running: server.Server, port: int, aws: str, home: Path) -> None:
    database = conninfo_to_dict(os.environ["DATABASE_URL"])
    running.add_connection(
        "provider_http", conn_type="http", host="127.0.0.1", port=port, schema="http", login="ann", password="s3cret word",
        extra='{"X-Extra": "from the connection"}',
    )  # fmt: skip
    running.add_connection("provider_sqlite", conn_type="sqlite", host=str(home / "orders.db"))
    running.add_connection(
        "provider_postgres", conn_type="postgres", host=database["host"], port=int(str(database["port"])),
        schema=database["dbname"], login=database["user"], password=database["password"],
    )  # fmt: skip
    running.add_connection(
        "provider_aws", conn_type="aws", login="an-access-key", password="a-secret-key",
        extra=f'{{"endpoint_url": "{aws}", "region_name": "us-east-1"}}',
    )  # fmt: skip
