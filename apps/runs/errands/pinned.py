"""The file of a run that keeps a version of its bundle: callbacks load what the run's tasks ran from, not the newest.

For `desk` (which runs are pinned) and `service` (which has the work tree made by a thread, before the errand's child starts).
Next door: `trackside.runner.local_files` does the same for tries, on workers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db import connection

from apps.dags.sources import connection_of
from apps.runs import sql
from apps.runs.models import Run
from trackside.runner.bundles import BundleError, Lease, open_bundle
from trackside.runner.local_files import in_version

KINDS = frozenset({"task_callback", "dag_callback", "function", "deadline"})
"""Errands about a run's own code. Listeners and timetables are the site's of today."""
_PINNED = """
SELECT d.bundle_name, r.bundle_version, d.relative_fileloc, coalesce(v.spec ->> 'relative_fileloc', '')
FROM runs_run r JOIN dags_dag d ON d.dag_id = r.dag_id LEFT JOIN dags_dagversion v ON v.id = r.dag_version_id
WHERE r.id = %s AND r.bundle_version IS NOT NULL AND r.bundle_version IS DISTINCT FROM d.bundle_version
"""


@dataclass(slots=True)
class Pin:
    """A file in a version of a bundle (`local_files.Wanted`)."""

    dag_id: str
    bundle_name: str
    bundle_version: str | None
    relative_fileloc: str
    version_fileloc: str


def pin_of(run: Run | None, kind: str) -> Pin | None:
    """Where an errand's code comes from, if it is not the newest."""
    if run is None or run.bundle_version is None or kind not in KINDS:
        return None
    found = sql.rows(_PINNED, [run.pk])
    return Pin(run.dag_id, *found[0]) if found else None


def fetch(pin: Pin) -> tuple[Path, str, Lease]:
    """The file, its path below the version's folder, and the lease that keeps it there. Raises BundleError. Blocks."""
    try:
        config = next((c for c in settings.DAG_BUNDLES if c.name == pin.bundle_name), None)
        if config is None or pin.bundle_version is None:
            raise BundleError(f"Bundle {pin.bundle_name} is no longer configured (TRACKSIDE_DAG_BUNDLES).")
        bundle = open_bundle(config, settings.BUNDLES_FOLDER, partial(connection_of, pin.bundle_name))
        folder, lease = bundle.materialise(pin.bundle_version)
        try:
            file = Path(in_version(folder, pin))
        except BundleError:
            lease.release()
            raise
        return file, str(file.relative_to(folder)), lease
    finally:
        connection.close()
