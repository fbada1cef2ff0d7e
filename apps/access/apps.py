from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class AccessConfig(AppConfig):
    name = "apps.access"
    label = "access"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Roles exist after every migrate."""
        from apps.access.roles import ensure_roles

        post_migrate.connect(ensure_roles, sender=self, dispatch_uid="access.roles")
