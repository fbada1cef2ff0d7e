"""`python -m config.standalone.prepare`: tables and the first user, in a short-lived child that may import Django.

The password to use comes in TRACKSIDE_ADMIN_PASSWORD, the result goes to standard output as one line of JSON
(`migrations`, `user`, `password`, `generated`), a pipe that only the supervisor reads.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from typing import Any

ADMIN = "admin"


def migrate() -> int:
    """Brings the tables up to date; returns how many migrations that took. Safe to run from two stacks at once."""
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    with connection.cursor() as cursor:  # a second stack on the same DATABASE_URL waits here until we are done
        cursor.execute("SELECT pg_advisory_lock(hashtext('trackside migrate'))")
        executor = MigrationExecutor(connection)
        todo = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
        if todo:
            call_command("migrate", interactive=False, verbosity=0)
        cursor.execute("SELECT pg_advisory_unlock(hashtext('trackside migrate'))")
    return todo


def ensure_admin(password: str) -> dict[str, Any]:
    """Makes the first user unless there is one. A generated password must be changed at the first sign-in."""
    from django.contrib.auth import get_user_model

    users = get_user_model().objects
    known = users.filter(username=ADMIN).first()
    if known is None and not users.filter(is_superuser=True).exists():
        generated = not password
        password = password or secrets.token_urlsafe(12)
        users.create_superuser(ADMIN, "", password, must_change_password=generated)
        return {"user": ADMIN, "password": password, "generated": generated}
    if known is not None and password and known.check_password(password):
        return {"user": ADMIN, "password": password, "generated": False}
    return {"user": ADMIN, "password": None, "generated": False}


def main() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    password = os.environ.pop("TRACKSIDE_ADMIN_PASSWORD", "")
    django.setup()
    result = {"migrations": migrate(), **ensure_admin(password)}
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
