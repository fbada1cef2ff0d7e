"""Every module of the provider packages can be imported through the bridge, unless a library is missing that it needs besides."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.providers import environment
from tests.support.server import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("providers"), pytest.mark.timeout(600)]
PACKAGES = ("http", "common.sql", "postgres", "sqlite", "ssh", "ftp", "amazon", "cncf.kubernetes", "common.compat")
NEEDS_MORE = {
    "airflow.providers.amazon.aws.auth_manager.aws_auth_manager": "fastapi",
    "airflow.providers.amazon.aws.auth_manager.routes.login": "fastapi",
    "airflow.providers.amazon.aws.hooks.duckdb": "duckdb",
    "airflow.providers.amazon.aws.queues.kinesis": "common.messaging",
    "airflow.providers.amazon.aws.queues.sqs": "common.messaging",
    "airflow.providers.amazon.aws.transfers.azure_blob_to_s3": "airflow.providers.microsoft",
    "airflow.providers.amazon.aws.transfers.exasol_to_s3": "airflow.providers.exasol",
    "airflow.providers.amazon.aws.transfers.gcs_to_s3": "airflow.providers.google",
    "airflow.providers.amazon.aws.transfers.glacier_to_gcs": "airflow.providers.google",
    "airflow.providers.amazon.aws.transfers.google_api_to_s3": "airflow.providers.google",
    "airflow.providers.amazon.aws.transfers.hive_to_dynamodb": "airflow.providers.apache",
    "airflow.providers.amazon.aws.transfers.imap_attachment_to_s3": "airflow.providers.imap",
    "airflow.providers.amazon.aws.transfers.mongo_to_s3": "bson",
    "airflow.providers.amazon.aws.transfers.salesforce_to_s3": "airflow.providers.salesforce",
    "airflow.providers.common.compat.openlineage.utils.utils": "airflow.providers.openlineage",
    "airflow.providers.common.sql.datafusion.engine": "datafusion",
    "airflow.providers.common.sql.datafusion.object_storage_provider": "datafusion",
}
"""Module → the package it needs that is not installed here."""


@pytest.fixture(scope="module")
def walked(python: Path) -> dict:
    return json.loads(environment.run(python, ROOT / "tests" / "providers" / "walk.py", *PACKAGES).splitlines()[-1])


def test_every_module_imports_or_names_the_package_it_needs(walked: dict):
    assert walked["count"] > 400
    unexplained = {name: error for name, error in walked["failed"].items() if name not in NEEDS_MORE}
    assert unexplained == {}
    for name, error in walked["failed"].items():
        assert NEEDS_MORE[name] in error, error


def test_the_packages_are_here_without_airflow_and_nothing_of_trackside_moved(python: Path):
    freeze = "import importlib.metadata as m\nfor d in m.distributions(): print(d.name.lower().replace('_', '-'), d.version)"
    lines = [line.split() for line in environment.run(python, "-c", freeze).splitlines()]
    found = {name: {v for n, v in lines if n == name} for name, _ in lines}
    assert not {"apache-airflow", "apache-airflow-core", "apache-airflow-task-sdk"} & set(found)
    pins = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    moved = {name: found[name.lower()] for name, version in pins if found.get(name.lower(), {version}) != {version}}
    assert moved == {}


def test_list_shows_what_is_installed_and_remove_refuses_what_others_need(python: Path):
    listed = environment.run(python, "-m", "trackside.cli", "providers", "list")
    assert re.search(r"^apache-airflow-providers-http +6\.3\.0$", listed, re.MULTILINE)
    with pytest.raises(AssertionError, match="apache-airflow-providers-http is needed by apache-airflow-providers-amazon"):
        environment.run(python, "-m", "trackside.cli", "providers", "remove", "http")
