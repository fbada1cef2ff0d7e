"""The URL table of the whole REST API: the operations declared here, then those of the apps below."""

from __future__ import annotations

from importlib import import_module

MODULES = ("actions", "events", "logs", "waiting", "why")
"""Modules that register operations. A new family is a module and a name here."""

for _module in MODULES:
    import_module(f"apps.ui.api.{_module}")

from apps.runs.api.urls import urlpatterns  # noqa: E402  (after everything is registered)

__all__ = ("urlpatterns",)
