"""Jinja templates in operator arguments: which values are templates, the environment they see, how they are rendered.

For `BaseOperator` and `BaseNotifier`, which mix `Templater` in, and for `execution/run.py`, which renders first.
The context is read lazily: a key costs something only if a template names it.
"""

from __future__ import annotations

import logging
from collections import ChainMap
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:  # jinja2 costs 40 ms to import: only what renders pays
    import jinja2

log = logging.getLogger("airflow.sdk.definitions.templater")


class literal:
    """Wrap a value to keep it from being rendered: `literal("{{ not a template }}")`."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"literal({self.value!r})"

    def iter_references(self) -> Iterable[tuple[Any, str]]:
        """No task is referred to."""
        return ()

    def resolve(self, context: Mapping[str, Any]) -> Any:
        """The value itself."""
        return self.value


LiteralValue = literal


# Filters ------------------------------------------------------------------------------------------------------------


def ds_filter(value: datetime | None) -> str | None:
    """`YYYY-MM-DD`."""
    return None if value is None else value.strftime("%Y-%m-%d")


def ds_nodash_filter(value: datetime | None) -> str | None:
    """`YYYYMMDD`."""
    return None if value is None else value.strftime("%Y%m%d")


def ts_filter(value: datetime | None) -> str | None:
    """ISO 8601 with offset."""
    return None if value is None else value.isoformat()


def ts_nodash_filter(value: datetime | None) -> str | None:
    """`YYYYMMDDTHHMMSS`."""
    return None if value is None else value.strftime("%Y%m%dT%H%M%S")


def ts_nodash_with_tz_filter(value: datetime | None) -> str | None:
    """ISO 8601 without dashes and colons, with offset."""
    return None if value is None else value.isoformat().replace("-", "").replace(":", "")


FILTERS = {
    "ds": ds_filter,
    "ds_nodash": ds_nodash_filter,
    "ts": ts_filter,
    "ts_nodash": ts_nodash_filter,
    "ts_nodash_with_tz": ts_nodash_with_tz_filter,
}


# Environment --------------------------------------------------------------------------------------------------------


def make_environment(
    *,
    native: bool = False,
    searchpath: Sequence[str] = (),
    macros: Mapping[str, Any] | None = None,
    filters: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> jinja2.Environment:
    """A sandboxed environment: undefined names are errors, `_private` attributes are readable, `__dunder__` are not.

    `native`: results keep their Python types. `searchpath`: folders of template files. `macros` become globals,
    `options` go to Jinja as they are (a DAG's `jinja_environment_kwargs`).
    """
    import jinja2

    from trackside.sdk._jinja import NativeEnvironment, TextEnvironment

    arguments: dict[str, Any] = {
        "loader": jinja2.FileSystemLoader([str(path) for path in searchpath]),
        "undefined": jinja2.StrictUndefined,
        "extensions": ["jinja2.ext.do"],
        "cache_size": 0,
        **(options or {}),
    }
    env: jinja2.Environment = (NativeEnvironment if native else TextEnvironment)(**arguments)
    env.filters.update(FILTERS)
    env.filters.update(filters or {})
    env.globals.update(macros or {})
    return env


def environment_for(task: Any, dag: Any = None) -> jinja2.Environment:
    """The environment a task's templates see: that of its DAG, native if the task or the DAG asks for it."""
    if dag is None:
        dag = task.get_dag() if hasattr(task, "get_dag") else None
    native = getattr(task, "render_template_as_native_obj", None)
    if native is None:
        native = bool(getattr(dag, "render_template_as_native_obj", False))
    if dag is None:
        return make_environment(native=native)
    return make_environment(
        native=native,
        searchpath=_searchpath(dag),
        macros=getattr(dag, "user_defined_macros", None),
        filters=getattr(dag, "user_defined_filters", None),
        options=getattr(dag, "jinja_environment_kwargs", None),
    )


class LateEnvironment:
    """Stands for `environment_for(task, dag)`, which is made when the first template needs it.

    Making one takes longer than everything else about a task without templates.
    """

    def __init__(self, task: Any, dag: Any) -> None:
        native = getattr(task, "render_template_as_native_obj", None)
        self.is_native = bool(getattr(dag, "render_template_as_native_obj", False) if native is None else native)
        options = getattr(dag, "jinja_environment_kwargs", None) or {}
        self.variable_start_string = options.get("variable_start_string", "{{")
        self.keep_trailing_newline = options.get("keep_trailing_newline", False)
        self._make = lambda: environment_for(task, dag)
        self._made: jinja2.Environment | None = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            self._made = self._make()
        return getattr(self._made, name)


def _searchpath(dag: Any) -> list[str]:
    fileloc = getattr(dag, "fileloc", "") or ""
    folder = [str(Path(fileloc).parent)] if fileloc else []
    extra = getattr(dag, "template_searchpath", None) or []
    return folder + ([extra] if isinstance(extra, str | Path) else list(extra))  # type: ignore[list-item]


# Rendering ----------------------------------------------------------------------------------------------------------


def render_text(text: str, context: Mapping[str, Any], env: jinja2.Environment) -> Any:
    """One template string."""
    native = getattr(env, "is_native", False)
    if not text:
        return text  # Jinja's native environment would make None of it
    if not native and not ("{{" in text or "{%" in text or "{#" in text) and env.variable_start_string == "{{":
        # what Jinja would do to text without markers
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        return text.removesuffix("\n") if not env.keep_trailing_newline else text
    return _render(env.from_string(text), context)


def _render(template: jinja2.Template, context: Mapping[str, Any]) -> Any:
    env = template.environment
    # shared=True hands the mapping over without copying, so that lazy keys stay lazy
    scope = template.new_context(ChainMap(context, template.globals), shared=True)  # type: ignore[arg-type]
    try:
        result = env.concat(template.root_render_func(scope))
        # a native result is not turned into text, which is where an undefined name would have failed
        return str(result) if isinstance(result, env.undefined) else result
    except Exception:
        return env.handle_exception()


class Templater:
    """Mixin of objects some of whose attributes are templates."""

    template_fields: Collection[str] = ()
    template_ext: Sequence[str] = ()
    template_fields_renderers: ClassVar[dict[str, str]] = {}
    _template_files_resolved = False

    def get_template_env(self, dag: Any = None) -> jinja2.Environment:
        """The environment for this object's templates."""
        return environment_for(self, dag)

    def prepare_template(self) -> None:
        """Hook: called when template files have been read, before anything is rendered."""

    def resolve_template_files(self) -> None:
        """Replace names of template files (by `template_ext`) by their content; those that cannot be read stay."""
        if self.template_ext:
            for field in self.template_fields:
                value = getattr(self, field, None)
                if isinstance(value, str):
                    setattr(self, field, self._file_content(field, value))
                elif isinstance(value, list):
                    value[:] = [self._file_content(field, i) if isinstance(i, str) else i for i in value]
        self._template_files_resolved = True
        self.prepare_template()

    def _file_content(self, field: str, value: str) -> str:
        if not value.endswith(tuple(self.template_ext)):
            return value
        env = self.get_template_env()
        try:
            assert env.loader is not None
            return env.loader.get_source(env, value)[0]
        except Exception:
            log.exception("Failed to resolve template field %r: the file %s cannot be read", field, value)
            return value

    def render_template_fields(self, context: Any, jinja_env: jinja2.Environment | None = None) -> None:
        """Render all template fields in place."""
        env = jinja_env or self.get_template_env()
        self._do_render_template_fields(self, self.template_fields, context, env, set())

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Any,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        for name in template_fields:
            try:
                value = getattr(parent, name)
            except AttributeError:
                raise AttributeError(
                    f"{name!r} is configured as a template field but {type(parent).__name__} does not have "
                    "this attribute."
                ) from None
            try:
                if callable(value) and not is_reference(value):
                    rendered = value(context=context, jinja_env=jinja_env)
                else:
                    rendered = self.render_template(value, context, jinja_env, seen_oids)
            except Exception as error:
                _say_where(error, parent, name)
                raise
            setattr(parent, name, rendered)

    def render_template(
        self,
        content: Any,
        context: Any,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render a value: strings, results of other tasks, collections of them, objects with template fields."""
        seen = set() if seen_oids is None else seen_oids
        if id(content) in seen:
            return content
        env = jinja_env or self.get_template_env()
        if isinstance(content, str):
            if self.template_ext and content.endswith(tuple(self.template_ext)):
                return _render(env.get_template(content), context)
            return render_text(content, context, env)
        if is_reference(content):
            return content.resolve(context)
        return self._render_collection(content, context, env, seen)

    def _render_collection(self, content: Any, context: Any, env: jinja2.Environment, seen: set[int]) -> Any:
        def again(item: Any) -> Any:
            return self.render_template(item, context, env, seen)

        if isinstance(content, tuple):
            items = [again(item) for item in content]
            return tuple(items) if type(content) is tuple else type(content)(*items)
        if isinstance(content, list):
            return [again(item) for item in content]
        if isinstance(content, dict):
            return {key: again(item) for key, item in content.items()}
        if isinstance(content, set):
            return {again(item) for item in content}
        fields = getattr(content, "template_fields", None)
        if isinstance(fields, Collection) and not isinstance(content, type):
            seen.add(id(content))
            self._do_render_template_fields(content, fields, context, env, seen)
        return content


def is_reference(value: Any) -> bool:
    """Results of other tasks and literals; a pathlib.Path has `resolve` too, but refers to no task."""
    return hasattr(value, "resolve") and hasattr(value, "iter_references")


def _say_where(error: Exception, parent: Any, field: str) -> None:
    owner = getattr(parent, "task_id", None) or type(parent).__name__
    file, line = getattr(parent, "_defined_at", ("", 0))
    written = f", written at {Path(file).name}:{line}" if file else ""
    note = f"while rendering the template field {field!r} of {owner}{written}"
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)
