"""The amazon package's secrets back ends, as published, answer lookups of tasks."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

_KEEP = {
    "systems_manager.SystemsManagerParameterStoreBackend": (
        "ssm",
        "for name, value in kept.items(): client.put_parameter(Name='/' + name, Value=value, Type='SecureString')",
        {"connections_prefix": "/site/connections", "variables_prefix": "/site/variables"},
    ),
    "secrets_manager.SecretsManagerBackend": (
        "secretsmanager",
        "for name, value in kept.items(): client.create_secret(Name=name, SecretString=value)",
        {"connections_prefix": "site/connections", "variables_prefix": "site/variables"},
    ),
}
_PROGRAM = """
import json, sys
import boto3
service, keep, url = sys.argv[1:]
kept = {"site/connections/shop": "postgres://ann:s3cret@db.example/shop", "site/variables/region": "north"}
client = boto3.client(service, endpoint_url=url, region_name="eu-west-1")
exec(keep)
from trackside import airflow
airflow.install()
from airflow.sdk import Connection, Variable
found = Connection.get("shop")
fields = [found.conn_type, found.login, found.password, found.host, found.schema]
print(json.dumps([*fields, Variable.get("region"), Variable.get("none", default="mine")]))
"""


@pytest.mark.parametrize("name", _KEEP)
def test_connections_and_variables_kept_at_amazon_are_found(python: Path, aws: str, name: str):
    service, keep, kwargs = _KEEP[name]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW_", "TRACKSIDE_", "AWS_"))} | {
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "NO_PROXY": "*",
        "AIRFLOW__SECRETS__BACKEND": f"airflow.providers.amazon.aws.secrets.{name}",
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({**kwargs, "endpoint_url": aws, "region_name": "eu-west-1"}),
    }  # fmt: skip
    done = subprocess.run([str(python), "-c", _PROGRAM, service, keep, aws], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ["postgres", "ann", "s3cret", "db.example", "shop", "north", "mine"]
