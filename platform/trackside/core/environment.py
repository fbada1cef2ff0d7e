"""What of a process's environment user code that it starts may see.

For `runner.zygotes` (the fork server starts with this), `runner.command` and others whose children run user code. Trackside's
own settings hold tokens and passwords and are dropped altogether, except the few that task code has a use for; so is every usual
name of a database URL or Django secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

KEPT = frozenset(
    {"TRACKSIDE_DAGS_FOLDER", "TRACKSIDE_PLUGINS_FOLDER", "TRACKSIDE_TASK_LOG_LEVEL", "TRACKSIDE_WORKER_CWD", "TRACKSIDE_XCOM_BACKEND"}
)
KEPT_PREFIXES = ("TRACKSIDE_VAR_", "TRACKSIDE_CONN_")
DROPPED = frozenset({"DATABASE_URL", "DJANGO_SETTINGS_MODULE", "DJANGO_SECRET_KEY", "SECRET_KEY", "CELERY_BROKER_URL"})


def scrubbed(environment: Mapping[str, str]) -> dict[str, str]:
    """A copy that task processes may inherit."""
    kept = {
        name: value
        for name, value in environment.items()
        if name not in DROPPED
        and (not name.startswith("TRACKSIDE_") or name in KEPT or name.startswith(KEPT_PREFIXES))
    }
    return {"TRACKSIDE_PLUGINS_FOLDER": plugins_folder(environment), **kept}


def plugins_folder(environment: Mapping[str, str]) -> str:
    """The folder of plugins: as set, else `plugins` in the home (which is not handed on to user code)."""
    home = environment.get("TRACKSIDE_HOME") or "~/.trackside"
    return environment.get("TRACKSIDE_PLUGINS_FOLDER") or str(Path(home).expanduser() / "plugins")
