"""DAG versions ready for planning, kept in memory: a version's spec never changes, except in place before its first run.

The key is (version id, spec hash), so that a version updated in place is read anew.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable
from threading import Lock
from uuid import UUID

import orjson

from apps.runs import sql
from trackside.core.snapshot import CompiledDag
from trackside.core.spec import DagSpec

logger = logging.getLogger(__name__)

_CAPACITY = 512
_cache: OrderedDict[tuple[UUID, str], CompiledDag] = OrderedDict()
_lock = Lock()


def get_many(keys: Iterable[tuple[UUID, str]]) -> dict[UUID, CompiledDag]:
    """Compiled DAGs by version id, for (version id, spec hash) pairs; one query for all that are not in memory.

    A version that cannot be read is logged and missing from the answer: it must not stop what is planned beside it.
    """
    found: dict[UUID, CompiledDag] = {}
    missing: dict[UUID, str] = {}
    with _lock:
        for key in keys:
            if key in _cache:
                _cache.move_to_end(key)
                found[key[0]] = _cache[key]
            else:
                missing[key[0]] = key[1]
    if missing:
        for version_id, spec_hash, spec in sql.rows(
            "SELECT id, spec_hash, spec::text FROM dags_dagversion WHERE id = ANY(%s::uuid[])", [list(missing)]
        ):
            try:
                found[version_id] = _remember((version_id, spec_hash), spec)
            except Exception:
                logger.exception("DAG version %s cannot be read", version_id)
    return found


def get(version_id: UUID, spec_hash: str) -> CompiledDag:
    """One compiled DAG; raises LookupError if it cannot be read."""
    try:
        return get_many([(version_id, spec_hash)])[version_id]
    except KeyError as e:
        raise LookupError(f"DAG version {version_id} cannot be read; parse its file again") from e


def _remember(key: tuple[UUID, str], spec: str) -> CompiledDag:
    dag = CompiledDag(DagSpec.from_dict(orjson.loads(spec)))
    with _lock:
        _cache[key] = dag
        while len(_cache) > _CAPACITY:
            _cache.popitem(last=False)
    return dag


def of_version(version_id: UUID) -> CompiledDag:
    """The compiled DAG of one version; raises LookupError if it is gone or cannot be read."""
    rows = sql.rows("SELECT spec_hash FROM dags_dagversion WHERE id = %s", [version_id])
    if not rows:
        raise LookupError(f"DAG version {version_id} does not exist any more")
    return get(version_id, rows[0][0])
