"""Connections and variables of a team that lie in the server's environment: `AIRFLOW_CONN__<TEAM>___<ID>`, `AIRFLOW_VAR__<TEAM>___<KEY>`.

For whoever answers user code: `apps.runs.execution.data` (tries), `apps.dags.answers` (parses and callbacks). As in Airflow 3.3 it is the
server that reads them, before its database, because only the server knows whose code asks; `trackside.core.environment.scrubbed` keeps
them from all processes that run user code. Without teams (`teams.Rules`) nothing here is ever found.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from apps.access import teams
from trackside.core.environment import TEAM_SEPARATOR
from trackside.sdk.connection import Connection
from trackside.sdk.secrets import CONNECTION_FIELDS, CONNECTION_PREFIXES, VARIABLE_PREFIXES

Whose = Callable[[], teams.Code | None]
"""Which code asks; called only if some team has the name, because the answer takes a statement."""


def connection(conn_id: str, whose: Whose) -> dict[str, Any] | None:
    """Fields of the connection as the asker's team has it in the environment; None: the team has none there.

    Raises AirflowException or ValueError for a value that is neither a URI nor a JSON object.
    """
    text = _found(CONNECTION_PREFIXES, conn_id, whose)
    if not text:
        return None
    made = Connection.from_json(text, conn_id) if text.strip().startswith("{") else Connection.from_uri(text, conn_id)
    return {field: getattr(made, field) for field in CONNECTION_FIELDS}


def variable(key: str, whose: Whose) -> str | None:
    """The variable's text, likewise."""
    return _found(VARIABLE_PREFIXES, key, whose)


def _found(prefixes: tuple[str, ...], name: str, whose: Whose) -> str | None:
    ending = TEAM_SEPARATOR + name.upper()
    if TEAM_SEPARATOR in name or not any(kept.endswith(ending) and kept.startswith(prefixes) for kept in os.environ):
        return None
    team = teams.rules().team_of(whose())
    if team is None:
        return None
    return next((found for prefix in prefixes if (found := os.environ.get(f"{prefix}_{team.upper()}{ending}")) is not None), None)
