"""Hooks as they are without the layer above, and small helpers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from apps.dags import hooks


@pytest.fixture(autouse=True)
def no_hooks() -> Iterator[None]:
    """Every test begins and ends with the hooks' defaults, whatever apps.runs registered."""
    names = [n for n in vars(hooks) if n.startswith("_") and not n.startswith("__")]
    before = {n: getattr(hooks, n) for n in names}
    hooks.register(
        last_automated_interval=lambda dag_id: None,
        versions_in_use=lambda ids: ids,
        dag_changed=lambda ids, verb: None,
        process_beat=lambda kind, info: None,
        process_end=lambda kind: None,
    )
    yield
    for name, value in before.items():
        setattr(hooks, name, value)
