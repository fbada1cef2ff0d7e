"""Root of the test suite: every test that needs a database gets one on the session's own PostgreSQL.

The work is done by the plugin `config.embedded_postgres.testing`, which pyproject.toml loads before pytest-django reads the
settings. This file only covers a run with another configuration, and says so when it is too late.
"""

from __future__ import annotations

import os
import sys

import pytest
from config.embedded_postgres import testing


def pytest_configure(config: pytest.Config) -> None:
    if "DATABASE_URL" in os.environ or config.option.help or config.option.version:
        return
    django_conf = sys.modules.get("django.conf")
    if django_conf is not None and django_conf.settings.configured:
        raise pytest.UsageError(
            "Django read its settings before the tests had a database. Add `-p config.embedded_postgres.testing` to addopts in "
            "pyproject.toml, or set DATABASE_URL."
        )
    testing.ensure_database_url()
    config.add_cleanup(testing.stop_shared_test_server)
