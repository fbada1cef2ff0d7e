"""Tables and the first user, in a short-lived process with Django: a fork of `warm`, or `python -m` this module.

The password to use comes in TRACKSIDE_ADMIN_PASSWORD, the result goes as one line of JSON (`migrations`, `user`,
`password`, `generated`) to standard output, a pipe that only the supervisor reads.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

ADMIN = "admin"
LOCK = "hashtext('trackside migrate')"


def migrate() -> int:
    """Brings the tables up to date; returns how many migrations that took. Safe to run from two stacks at once."""
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    from apps.access import schema

    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_lock({LOCK})")  # a second stack on the same DATABASE_URL waits here
        if why := schema.newer():
            raise SystemExit(why)
        executor = MigrationExecutor(connection)
        todo = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
        if todo:
            # Each migration is a transaction: after a crash the next start goes on with what is not on disk yet.
            cursor.execute("SET synchronous_commit = off")
            call_command("migrate", interactive=False, verbosity=0)
            cursor.execute("RESET synchronous_commit")
        cursor.execute(f"SELECT pg_advisory_unlock({LOCK})")
    return todo


def ensure_admin(password: str, new_password: str, hashed: Callable[[], str]) -> dict[str, Any]:
    """Makes the first user unless there is one. A generated password must be changed at the first sign-in."""
    from django.contrib.auth import get_user_model

    users = get_user_model().objects
    known = users.filter(username=ADMIN).first()
    if known is None and not users.filter(is_superuser=True).exists():
        users.create(username=ADMIN, password=hashed(), is_staff=True, is_superuser=True, must_change_password=not password)
        return {"user": ADMIN, "password": new_password, "generated": not password}
    fits = known is not None and bool(password) and known.check_password(password)
    return {"user": ADMIN, "password": password if fits else None, "generated": False}


def is_new() -> bool:
    """Whether the database is an empty one: then it pays to hash a password while the tables are made."""
    from django.db import connection

    return "django_migrations" not in connection.introspection.table_names()


def main() -> None:
    """Prepare, and say the result."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from django.contrib.auth.hashers import make_password

    password = os.environ.pop("TRACKSIDE_ADMIN_PASSWORD", "")
    new_password = password or secrets.token_urlsafe(12)
    with ThreadPoolExecutor(1) as pool:
        hashed = pool.submit(make_password, new_password).result if is_new() else lambda: make_password(new_password)
        result = {"migrations": migrate(), **ensure_admin(password, new_password, hashed)}
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
