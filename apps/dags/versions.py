"""Versions of DAGs: a new row when the structure changes and runs refer to the old one, else the old row is rewritten.

For `storing`. A run keeps the version it started with, whatever happens to the file.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Max, Q

from apps.dags import hooks
from apps.dags.models import Dag, DagVersion

INFLATION_LIMIT = 10
"""Versions of one DAG from one and the same file content within INFLATION_WINDOW; more are not stored."""
INFLATION_WINDOW = timedelta(hours=1)


@dataclass(slots=True)
class Parsed:
    """One DAG of a parse, as its version will store it."""

    dag: Dag
    spec: dict[str, Any]
    spec_hash: str
    source: str
    file_hash: str


def store_versions(parsed: Collection[Parsed], now: datetime) -> list[str]:
    """Store what changed and set `dag.current_version` (the caller saves it).

    Returns the DAGs whose new structure was not stored, because they come out differently at every parse.
    """
    changed = [p for p in parsed if p.dag.current_version is None or p.dag.current_version.spec_hash != p.spec_hash]
    for p in parsed:
        if p not in changed and (current := p.dag.current_version) is not None and _is_other_text(p, current):
            _rewrite(p, now)
    in_use = hooks.versions_in_use([p.dag.current_version.id for p in changed if p.dag.current_version is not None])
    numbers, inflated = _numbers([p.dag.dag_id for p in changed if p.dag.current_version is not None], changed, now)
    new, refused = [], []
    for p in changed:
        current = p.dag.current_version
        if current is not None and current.id not in in_use:
            _rewrite(p, now)
        elif p.dag.dag_id in inflated:
            refused.append(p.dag.dag_id)
        else:
            p.dag.current_version = DagVersion(
                id=uuid.uuid4(),
                dag=p.dag,
                number=numbers.get(p.dag.dag_id, 0) + 1,
                created_at=now,
                **_content(p, now),
            )
            new.append(p.dag.current_version)
    DagVersion.objects.bulk_create(new, batch_size=100)
    return refused


def _content(p: Parsed, now: datetime) -> dict[str, Any]:
    return {
        "spec": p.spec,
        "spec_hash": p.spec_hash,
        "source": p.source,
        "file_hash": p.file_hash,
        "last_updated": now,
        "bundle_name": p.dag.bundle_name,
        "bundle_version": p.dag.bundle_version,
    }


def _is_other_text(p: Parsed, version: DagVersion) -> bool:
    """The same structure from another text or another version of the bundle. Runs keep their own bundle version."""
    said = (p.file_hash, p.dag.bundle_name, p.dag.bundle_version)
    return (version.file_hash, version.bundle_name, version.bundle_version) != said


def _rewrite(p: Parsed, now: datetime) -> None:
    """The same structure from another text, or a structure no run has seen."""
    version = p.dag.current_version
    assert version is not None
    content = _content(p, now)
    if version.spec_hash == p.spec_hash and version.bundle_version == p.dag.bundle_version:
        del content["spec"]  # only the text differs; in another version of the bundle the file may have another place
    version.bundle_name, version.bundle_version = p.dag.bundle_name, p.dag.bundle_version
    DagVersion.objects.filter(pk=version.pk).update(**content)
    version.spec_hash, version.file_hash = p.spec_hash, p.file_hash


def _numbers(dag_ids: list[str], changed: Collection[Parsed], now: datetime) -> tuple[dict[str, int], set[str]]:
    """Highest version numbers, and the DAGs that had too many versions of this very file content lately."""
    if not dag_ids:
        return {}, set()
    file_hash = next(iter(changed)).file_hash
    lately = Q(file_hash=file_hash, created_at__gt=now - INFLATION_WINDOW)
    rows = (
        DagVersion.objects.filter(dag_id__in=dag_ids)
        .values("dag_id")
        .annotate(highest=Max("number"), lately=Count("id", filter=lately))
    )
    found = {row["dag_id"]: row for row in rows}
    return (
        {dag_id: row["highest"] for dag_id, row in found.items()},
        {dag_id for dag_id, row in found.items() if row["lately"] >= INFLATION_LIMIT},
    )
