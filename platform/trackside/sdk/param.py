"""Params: values a person or program gives a run, with a JSON schema, a default and a description (rows 1.135-1.143).

For DAG files (`Param`, `DAG(params=…)`), for the context of a task (`params`), and for the server, which checks the conf
of a new run with `merge_conf` against the params of the stored DAG.
"""

from __future__ import annotations

import copy
import datetime as dt
import json
from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, ClassVar

from trackside.sdk.exceptions import ParamValidationError
from trackside.sdk.types import NOTSET, is_arg_set

if TYPE_CHECKING:
    from trackside.sdk.dag import DAG


class Param:
    """One param: `Param(5, type="integer", minimum=1, description="How many")`. No default: it must be given."""

    __version__: ClassVar[int] = 1

    def __init__(self, default: Any = NOTSET, description: str | None = None, **kwargs: Any) -> None:
        self.value = _json_only(default) if is_arg_set(default) else default
        self.description = description
        self.schema: dict[str, Any] = kwargs.pop("schema") if "schema" in kwargs else kwargs
        self.source: str | None = None
        """"dag" or "task": where it was written."""

    def resolve(self, value: Any = NOTSET, suppress_exception: bool = False) -> Any:
        """The given value, or the default, checked. Raises ParamValidationError unless suppressed (then None)."""
        final = self.value if not is_arg_set(value) else value
        try:
            if not is_arg_set(final):
                raise ParamValidationError("No value passed and Param has no default value")
            check_value(final, self.schema)
        except ParamValidationError:
            if suppress_exception:
                return None
            raise
        self.value = final
        return final

    @property
    def has_value(self) -> bool:
        """Whether there is a default (None does not count)."""
        return is_arg_set(self.value) and self.value is not None

    def dump(self) -> dict[str, Any]:
        """The parts, with the value under `value` (None without one)."""
        value = self.value if is_arg_set(self.value) else None
        return {"value": value, "description": self.description, "schema": self.schema, "source": self.source}

    def to_spec(self) -> dict[str, Any]:
        """The stored form: without `value` the param is required."""
        data: dict[str, Any] = {"value": self.value} if is_arg_set(self.value) else {}
        return {**data, "schema": self.schema, "description": self.description, "source": self.source}

    def serialize(self) -> dict[str, Any]:
        """Same as `dump`."""
        return self.dump()

    @classmethod
    def from_spec(cls, data: Mapping[str, Any]) -> Param:
        """Inverse of `to_spec`."""
        param = cls(data.get("value", NOTSET), data.get("description"), schema=dict(data.get("schema") or {}))
        param.source = data.get("source")
        return param

    def __copy__(self) -> Param:
        new = Param.__new__(type(self))
        new.value, new.description, new.schema = copy.deepcopy(self.value), self.description, self.schema
        new.source = self.source
        return new

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Param) and self.dump() == other.dump()

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"Param({self.value!r}, {self.schema!r})"


class ParamsDict(MutableMapping[str, Any]):
    """Params by name; reading a name gives its value, writing one checks the new value."""

    def __init__(self, dict_obj: Any = None, suppress_exception: bool = False) -> None:
        self._params: dict[str, Param] = {}
        self.suppress_exception = suppress_exception
        for name, value in _items(dict_obj):
            self._params[str(name)] = copy.copy(value) if isinstance(value, Param) else Param(value)

    def __getitem__(self, key: str) -> Any:
        return self._params[key].resolve(suppress_exception=self.suppress_exception)

    def __setitem__(self, key: str, value: Any) -> None:
        if isinstance(value, Param):
            self._params[key] = value
        elif key in self._params:
            try:
                self._params[key].resolve(value, suppress_exception=self.suppress_exception)
            except ParamValidationError as error:
                raise ParamValidationError(f"Invalid input for param {key}: {error}") from None
        else:
            self._params[key] = Param(value)

    def __delitem__(self, key: str) -> None:
        del self._params[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._params)

    def __len__(self) -> int:
        return len(self._params)

    def __contains__(self, key: object) -> bool:
        return key in self._params

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ParamsDict):
            return self.dump() == other.dump()
        return self.dump() == other if isinstance(other, dict) else NotImplemented

    def __hash__(self) -> int:
        return id(self)

    def __copy__(self) -> ParamsDict:
        return ParamsDict(self, self.suppress_exception)

    def __repr__(self) -> str:
        return repr({name: param.value for name, param in self._params.items()})

    def get_param(self, key: str) -> Param:
        """The Param itself."""
        return self._params[key]

    def items(self) -> Any:
        """(name, Param) pairs, as in Airflow: the Param, not its value."""
        return self._params.items()

    def values(self) -> Any:
        """The Params, as in Airflow."""
        return self._params.values()

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Add or replace; values for existing params are checked."""
        for source in (*args, kwargs):
            for name, value in _items(source):
                self[name] = copy.copy(value) if isinstance(value, Param) else value

    def dump(self) -> dict[str, Any]:
        """Names and values."""
        return {name: self._params[name].resolve(suppress_exception=self.suppress_exception) for name in self._params}

    def deep_merge(self, other: Any) -> None:
        """Like `update`, but dicts inside values are merged (row 2.011)."""
        for name, value in _items(other):
            current = self._params[name].value if name in self._params else None
            both = isinstance(current, dict) and isinstance(value, dict)
            self[name] = merged(current, value) if both else value  # type: ignore[arg-type]  # both are dicts

    def validate(self) -> dict[str, Any]:
        """All values, checked. Raises ParamValidationError naming the param."""
        found = {}
        for name, param in self._params.items():
            try:
                found[name] = param.resolve(suppress_exception=self.suppress_exception)
            except ParamValidationError as error:
                raise ParamValidationError(f"Invalid input for param {name}: {error}") from None
        return found

    def to_spec(self) -> dict[str, Any]:
        """The stored form of all params."""
        return {name: param.to_spec() for name, param in self._params.items()}

    @classmethod
    def from_spec(cls, data: Mapping[str, Any]) -> ParamsDict:
        """Inverse of `to_spec`."""
        return cls({name: Param.from_spec(item) for name, item in data.items()})

    def mark(self, source: str) -> None:
        """Note where params that do not know it yet were written."""
        for param in self._params.values():
            param.source = param.source or source

    def filter_params_by_source(self, source: str) -> ParamsDict:
        """Only the params written there ("dag" or "task")."""
        return ParamsDict({name: param for name, param in self._params.items() if param.source == source})


class DagParam:
    """`dag.param("name", default)`: the run's value of a param, found when the task runs (row 1.037)."""

    def __init__(self, current_dag: DAG, name: str, default: Any = NOTSET) -> None:
        if is_arg_set(default):
            current_dag.params[name] = default
        self._name = name
        self._default = default
        self.current_dag = current_dag

    def iter_references(self) -> Iterator[Any]:
        """No task is referred to."""
        return iter(())

    def resolve(self, context: Mapping[str, Any]) -> Any:
        """conf of the run, then the default given here, then the param's value."""
        conf = getattr(context.get("dag_run"), "conf", None) or {}
        if self._name in conf:
            return conf[self._name]
        if is_arg_set(self._default):
            return self._default
        try:
            return context["params"][self._name]
        except KeyError:
            raise ParamValidationError(f"No value could be resolved for parameter {self._name}") from None

    def to_spec(self) -> dict[str, Any]:
        """For the details page."""
        return {"dag_param": self._name}

    def __repr__(self) -> str:
        return f"DagParam({self._name!r})"


def merge_conf(params: Mapping[str, Any], conf: Mapping[str, Any] | None) -> dict[str, Any]:
    """Values of a run's params: stored defaults (`DagSpec.params`) overridden by conf, nested dicts merged, all checked.

    Keys of conf that are no params come out as they are. Raises ParamValidationError naming the param.
    """
    merged = ParamsDict.from_spec(params)
    merged.deep_merge(conf or {})
    return merged.validate()


def check_value(value: Any, schema: Mapping[str, Any]) -> None:
    """Raise ParamValidationError if `value` is not JSON or does not fit the schema."""
    _json_only(value)
    if not schema:
        return
    import jsonschema

    try:
        jsonschema.validate(value, schema, format_checker=_format_checker())
    except jsonschema.ValidationError as error:
        raise ParamValidationError(error.message if not error.path else str(error)) from None
    except jsonschema.SchemaError as error:
        raise ParamValidationError(f"the schema itself is wrong: {error.message}") from None


_checker: Any = None


def _format_checker() -> Any:
    """jsonschema's formats, with dates, times and durations checked without further packages."""
    global _checker
    if _checker is None:
        import jsonschema

        _checker = jsonschema.FormatChecker()
        _checker.checks("date-time", raises=ValueError)(lambda v: _parses(dt.datetime.fromisoformat, v))
        _checker.checks("time", raises=ValueError)(lambda v: _parses(dt.time.fromisoformat, v))
        _checker.checks("date", raises=ValueError)(lambda v: _parses(dt.date.fromisoformat, v))
        _checker.checks("duration", raises=ValueError)(_is_duration)
    return _checker


def _parses(parser: Any, value: Any) -> bool:
    return not isinstance(value, str) or parser(value) is not None


def _is_duration(value: Any) -> bool:
    import re

    pattern = r"P(?!$)(\d+Y)?(\d+M)?(\d+W)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?"
    return not isinstance(value, str) or re.fullmatch(pattern, value) is not None


def _json_only(value: Any) -> Any:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        raise ParamValidationError(
            f"All provided parameters must be json-serializable; {type(value).__name__} is not: {value!r}"
        ) from None
    return value


def _items(source: Any) -> Any:
    if source is None:
        return ()
    if isinstance(source, Mapping):
        return source.items()
    return source


def merged(base: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """`new` over `base`, dicts inside dicts merged in turn."""
    out = dict(base)
    for key, value in new.items():
        both = isinstance(out.get(key), dict) and isinstance(value, dict)
        out[key] = merged(out[key], value) if both else value
    return out
