"""Airflow's options in the environment: `AIRFLOW__SECTION__KEY`, and for secret ones `…_CMD` and `…_SECRET` (row 9.028).

For `secrets` and `trackside.airflow.parts.configuration`, in processes that run user code. A command is run without a shell, once per
process; the name of a secret is looked up by the back end of `[secrets]` or `[workers]`.
"""

from __future__ import annotations

import functools
import os
import shlex
import subprocess

from trackside.sdk.exceptions import AirflowConfigException

SECRET_OPTIONS = frozenset({
    ("core", "fernet_key"), ("database", "sql_alchemy_conn"), ("database", "sql_alchemy_conn_async"),
    ("database", "sql_alchemy_engine_args"),
    ("api", "secret_key"), ("api_auth", "jwt_secret"), ("secrets", "backend_kwargs"), ("workers", "secrets_backend_kwargs"),
    ("sentry", "sentry_dsn"), ("smtp", "smtp_user"), ("smtp", "smtp_password"), ("celery", "broker_url"), ("celery", "result_backend"),
    ("celery", "flower_basic_auth"), ("opensearch", "password"), ("opensearch", "username"),
    ("elasticsearch", "host"), ("opensearch", "host"),
})  # fmt: skip
"""Only these have the other two forms, as in Airflow: any other variable that ends in _CMD is an option of that name."""
TIMEOUT_S = 60.0


def variable(section: str, key: str) -> str:
    """The name of the variable of an option."""
    return f"AIRFLOW__{section.replace('.', '_').upper()}__{key.upper()}"


def text(section: str, key: str) -> str | None:
    """The option as the environment has it: plain, by a command, by the name of a secret; None if it has none of them.

    Raises AirflowConfigException for a command that fails.
    """
    name = variable(section, key)
    if name in os.environ:
        return os.environ[name]
    if (section.lower(), key.lower()) not in SECRET_OPTIONS:
        return None
    if command := os.environ.get(f"{name}_CMD"):
        return _said(f"{name}_CMD", command)
    if (secret := os.environ.get(f"{name}_SECRET")) and not key.lower().endswith("backend_kwargs"):  # those make the back end
        from trackside.sdk import secrets

        return secrets.config(secret)
    return None


@functools.cache
def _said(name: str, command: str) -> str:
    try:
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise AirflowConfigException(f"{name}: the command cannot be run: {error}") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it printed no error"])[-1]
        raise AirflowConfigException(f"{name}: the command ended with exit code {done.returncode}: {last}")
    return done.stdout.rstrip("\n")
