"""What of a process's environment user code that it starts may see.

For `runner.zygotes` (the fork server starts with this), `runner.command` and others whose children run user code. Trackside's
own settings hold tokens and passwords and are dropped altogether, except the few that task code has a use for; so is every usual
name of a database URL or Django secret. Connections and variables of teams are for the server to hand out
(`apps.access.surroundings`): a process of one team's code must not find another's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

KEPT = frozenset(
    {"TRACKSIDE_DAGS_FOLDER", "TRACKSIDE_PLUGINS_FOLDER", "TRACKSIDE_TASK_LOG_LEVEL", "TRACKSIDE_WORKER_CWD", "TRACKSIDE_XCOM_BACKEND"}
)
KEPT_PREFIXES = ("TRACKSIDE_VAR_", "TRACKSIDE_CONN_")
DROPPED = frozenset({"DATABASE_URL", "DJANGO_SETTINGS_MODULE", "DJANGO_SECRET_KEY", "SECRET_KEY", "CELERY_BROKER_URL"})
TEAM_SEPARATOR = "___"
"""Between team and name: `AIRFLOW_CONN__<TEAM>___<ID>`."""
_OF_A_TEAM = re.compile(f"(AIRFLOW|TRACKSIDE)_(CONN|VAR)__.+{TEAM_SEPARATOR}.+")
SITE_URL = "AIRFLOW__API__BASE_URL"
"""Where people find the pages: what links in notifications begin with."""


def scrubbed(environment: Mapping[str, str]) -> dict[str, str]:
    """A copy that task processes may inherit."""
    kept = {
        name: value
        for name, value in environment.items()
        if name not in DROPPED
        and (not name.startswith("TRACKSIDE_") or name in KEPT or name.startswith(KEPT_PREFIXES))
    }
    return completed(kept, environment)


def completed(kept: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """What was kept of an environment, without secrets of teams and with what all user code should know of the site."""
    ours = {name: value for name, value in kept.items() if not _OF_A_TEAM.fullmatch(name)}
    address = site_url(environment)
    return {"TRACKSIDE_PLUGINS_FOLDER": plugins_folder(environment), **ours, **({SITE_URL: address} if address else {})}


def site_url(environment: Mapping[str, str]) -> str | None:
    """The site's address: as Airflow's setting says, else where this process reaches the server, else where it listens; None: unknown."""
    for name in (SITE_URL, "AIRFLOW__WEBSERVER__BASE_URL", "TRACKSIDE_API_URL"):
        if said := environment.get(name):
            return said.rstrip("/")
    port = environment.get("TRACKSIDE_PORT")
    return f"http://{environment.get('TRACKSIDE_HOST') or '127.0.0.1'}:{port}" if port else None


def plugins_folder(environment: Mapping[str, str]) -> str:
    """The folder of plugins: as set, else `plugins` in the home (which is not handed on to user code)."""
    home = environment.get("TRACKSIDE_HOME") or "~/.trackside"
    return environment.get("TRACKSIDE_PLUGINS_FOLDER") or str(Path(home).expanduser() / "plugins")
