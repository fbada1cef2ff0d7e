"""What a plugin class looks like. For plugin authors: subclass `AirflowPlugin` and put the file into the plugins folder."""

from __future__ import annotations

from typing import Any, ClassVar


class AirflowPluginException(Exception):
    """A plugin that cannot be used; the message says why."""


class AirflowPlugin:
    """Parent of plugins. The attributes say what the plugin brings; those for Airflow's own web pages are only listed."""

    name: str | None = None
    source: Any = None

    macros: ClassVar[list[Any]] = []
    admin_views: ClassVar[list[Any]] = []
    flask_blueprints: ClassVar[list[Any]] = []
    fastapi_apps: ClassVar[list[Any]] = []
    fastapi_root_middlewares: ClassVar[list[Any]] = []
    external_views: ClassVar[list[Any]] = []
    react_apps: ClassVar[list[Any]] = []
    menu_links: ClassVar[list[Any]] = []
    appbuilder_views: ClassVar[list[Any]] = []
    appbuilder_menu_items: ClassVar[list[Any]] = []
    global_operator_extra_links: ClassVar[list[Any]] = []
    operator_extra_links: ClassVar[list[Any]] = []
    timetables: ClassVar[list[Any]] = []
    partition_mappers: ClassVar[list[Any]] = []
    windows: ClassVar[list[Any]] = []
    deadline_references: ClassVar[list[Any]] = []
    listeners: ClassVar[list[Any]] = []
    hook_lineage_readers: ClassVar[list[Any]] = []
    priority_weight_strategies: ClassVar[list[Any]] = []

    @classmethod
    def validate(cls) -> None:
        """Raises AirflowPluginException if the class has no name."""
        if not cls.name:
            raise AirflowPluginException("Your plugin needs a name.")

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:
        """Called once the plugin is loaded."""


NOT_SUPPORTED = (
    *("admin_views", "flask_blueprints", "fastapi_apps", "fastapi_root_middlewares", "react_apps"),
    *("menu_links", "appbuilder_views"),
)
"""Attributes that are listed and do nothing: they extend Airflow's own web pages, which are not here."""
LINKS = ("external_views", "appbuilder_menu_items")
"""Attributes that the pages show as links."""

