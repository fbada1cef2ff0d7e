from __future__ import annotations

from django.apps import AppConfig


class DagsConfig(AppConfig):
    name = "apps.dags"
    label = "dags"
    default_auto_field = "django.db.models.BigAutoField"
