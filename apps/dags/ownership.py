"""Which code a DAG is, for questions about its team (`apps.access.teams`): its bundle, file and tags, as the catalogue knows them."""

from __future__ import annotations

from collections.abc import Collection

from django.conf import settings

from apps.access import prepared, teams
from apps.access.teams import Code

_CODES = """
SELECT d.dag_id, d.bundle_name, coalesce(f.relative_path, ''), ARRAY(SELECT t.name FROM dags_dagtag t WHERE t.dag_id = d.dag_id)
FROM dags_dag d LEFT JOIN dags_dagfile f ON f.id = d.file_id WHERE d.dag_id = ANY(%(dags)s::text[])
"""


def codes_of(dag_ids: Collection[str]) -> dict[str, Code]:
    """DAG → its code, for those that exist. The path is the processor's, not the `fileloc` that a file may set."""
    rows = prepared.rows(_CODES, {"dags": list(dag_ids)})
    return {dag_id: Code(bundle, path, frozenset(tags)) for dag_id, bundle, path, tags in rows}


def code_of(dag_id: str) -> Code | None:
    """One DAG's."""
    return codes_of([dag_id]).get(dag_id)


def teams_of(dag_ids: Collection[str], *, any_rows: bool = True) -> dict[str, str]:
    """DAG → its team, for those that have one. `any_rows` False: there are no rows of `Team`, so that only bundles can give one."""
    if not any_rows and not any(b.team_name for b in settings.DAG_BUNDLES):
        return {}
    known = teams.rules()
    codes = codes_of(dag_ids) if known else {}
    return {dag_id: team for dag_id, code in codes.items() if (team := known.team_of(code)) is not None}
