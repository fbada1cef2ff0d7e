from __future__ import annotations

from django.apps import AppConfig
from django.core.signals import request_finished, request_started
from django.db.models.signals import post_migrate


class AccessConfig(AppConfig):
    name = "apps.access"
    label = "access"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Roles exist after every migrate; the trail knows addresses; changed rights end sign-ins."""
        from apps.access import audit, lockout, signout
        from apps.access.roles import ensure_roles

        lockout.connect()
        signout.connect()
        request_started.connect(audit.note_address, dispatch_uid="access.address")
        request_finished.connect(audit.forget_address, dispatch_uid="access.address")
        post_migrate.connect(ensure_roles, sender=self, dispatch_uid="access.roles")
