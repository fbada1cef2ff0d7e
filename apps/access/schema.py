"""Is the database a newer version's, or not yet this one's? For whoever is about to write: commands of processes ask at their
start (`begin`), `metrics.health` for probes.

Migrations only add, so that processes of the version before may run on while a newer one takes over; but none starts anew.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from django.apps import apps
from django.conf import settings
from django.core.management.base import CommandError
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader

logger = logging.getLogger(__name__)
LONGEST_PAUSE = 3.0
"""Seconds between two looks at a database whose migrations are under way."""


def unknown_migrations() -> list[str]:
    """Names of migrations of ours that the database has had and this version does not know."""
    loader = MigrationLoader(connection)
    ours = {config.label for config in apps.get_app_configs() if config.name.startswith("apps.")}
    return sorted(f"{app}.{name}" for app, name in loader.applied_migrations if app in ours and (app, name) not in loader.disk_migrations)


def newer() -> str:
    """Empty, or the sentence for a database that a newer version has changed."""
    if not (found := unknown_migrations()):
        return ""
    return (
        f"The database belongs to a newer version of Trackside: this one ({settings.VERSION}) does not know {found[0]}."
        " Start that version here, or restore a backup from before."
    )


def missing_migrations() -> list[str]:
    """Names of migrations of this version that the database has not had yet."""
    loader = MigrationLoader(connection)
    return sorted(f"{app}.{name}" for app, name in loader.disk_migrations.keys() - loader.applied_migrations.keys())


def begin(pause: Callable[[float], None] = time.sleep) -> None:
    """Called before a process of this version begins to write: refuses a newer version's database, and waits for the migrations
    of its own, which run beside the start of a whole site. Raises CommandError."""
    refuse_newer()
    seconds = 0.2
    while lacking := _lacking():
        logger.warning(
            "the database lacks %d migrations, the first is %s: this process waits for them, again in %.1f s. "
            "If nothing is migrating it, run: trackside db upgrade", len(lacking), lacking[0], seconds,
        )  # fmt: skip
        pause(seconds)
        seconds = min(2 * seconds, LONGEST_PAUSE)


def _lacking() -> list[str]:
    try:
        return missing_migrations()
    except DatabaseError:
        connection.close()
        return []


def refuse_newer() -> None:
    """Raises CommandError if the database is a newer version's; one that is away is somebody else's matter."""
    try:
        why = newer()
    except DatabaseError:
        connection.close()
        return
    if why:
        raise CommandError(why)
