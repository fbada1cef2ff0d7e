"""Root of the test suite: every test that needs a database gets one on the session's own PostgreSQL.

`config.embedded_postgres.testing` starts and stops the server. The controller sets DATABASE_URL before pytest-xdist
starts its workers, which inherit it; pytest-django makes a database of its own for each (test_trackside_gw0, ...).
"""

from __future__ import annotations

import os
import sys

import pytest
from psycopg.conninfo import conninfo_to_dict

from config.embedded_postgres import testing


def pytest_configure(config: pytest.Config) -> None:
    if "DATABASE_URL" in os.environ or config.option.help or config.option.version:
        return
    url = testing.ensure_database_url()
    config.add_cleanup(testing.stop_shared_test_server)
    django_conf = sys.modules.get("django.conf")
    if django_conf is not None and django_conf.settings.configured:
        point_django_at(url)


def point_django_at(url: str) -> None:
    """pytest-django reads the settings before this file is loaded, so in this process they miss the DATABASE_URL.

    The dictionary is changed in place: Django's connections, none of which is open yet, hold the same one.
    """
    from django.conf import settings

    parts = conninfo_to_dict(url)
    settings.DATABASES["default"].update(
        NAME=parts["dbname"], USER=parts["user"], PASSWORD=parts["password"], HOST=parts["host"], PORT=parts["port"]
    )
