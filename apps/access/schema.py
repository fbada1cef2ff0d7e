"""Is the database a newer version's? For whoever is about to write: commands of processes ask at their start, `metrics.health` for probes.

Migrations only add, so that processes of the version before may run on while a newer one takes over; but none starts anew.
"""

from __future__ import annotations

from django.apps import apps
from django.conf import settings
from django.core.management.base import CommandError
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader


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


def refuse_newer() -> None:
    """Called before a process of this version begins to write. Raises CommandError; a database that is away is somebody else's matter."""
    try:
        why = newer()
    except DatabaseError:
        connection.close()
        return
    if why:
        raise CommandError(why)
