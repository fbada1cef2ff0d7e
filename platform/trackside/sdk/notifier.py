"""BaseNotifier: something that tells people, usable as a callback (row 1.237).

For provider packages and DAG authors: `on_failure_callback=MyNotifier(…)`.
"""

from __future__ import annotations

from collections.abc import Collection, MutableMapping, Sequence
from typing import Any, ClassVar

from trackside.sdk.log import LoggingMixin
from trackside.sdk.templating import Templater


class BaseNotifier(LoggingMixin, Templater):
    """Override `notify(context)` (and `async_notify` to be awaitable). Template fields are rendered before."""

    template_fields: Collection[str] = ()
    template_ext: Sequence[str] = ()
    template_fields_renderers: ClassVar[dict[str, str]] = {}

    def __init__(self, context: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.context = context or {}
        self.resolve_template_files()

    def notify(self, context: Any) -> None:
        """Tell."""
        raise NotImplementedError

    async def async_notify(self, context: Any) -> None:
        """Tell, from an event loop."""
        raise NotImplementedError

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Render in place, with the environment of the context's DAG."""
        if isinstance(context, MutableMapping):  # as in Airflow: one field may name another
            context.update({name: getattr(self, name) for name in self.template_fields})
        dag = context.get("dag") if hasattr(context, "get") else None
        env = jinja_env or self.get_template_env(dag=dag)
        self._do_render_template_fields(self, self.template_fields, context, env, set())

    def __call__(self, *args: Any) -> None:
        """Called as a callback: with the context, or (dag, context …) in older uses."""
        context = args[0] if len(args) == 1 else {"dag": args[0], "args": args}
        self.context = context
        try:
            self.render_template_fields(context)
            self.notify(context)
        except Exception:
            self.log.exception("Notifier %s failed", type(self).__name__)

    def __await__(self) -> Any:
        """Awaited by the triggerer."""

        async def tell() -> None:
            self.render_template_fields(self.context)
            await self.async_notify(self.context)

        return tell().__await__()
