"""The script that calls a function in another interpreter: its text, and the exchange of arguments and result.

For `virtualenv.py`. Arguments and result travel as files in the chosen pickling library; both sides belong to the same task.
The script may run on any Python that the function runs on, so it uses nothing newer than it must.
"""

from __future__ import annotations

import datetime as dt
import re
from importlib.metadata import version
from string import Template
from typing import Any

_SCRIPT = Template(
    '''from __future__ import annotations

import $library
import os
import sys

os.environ["PYTHON_OPERATORS_VIRTUAL_ENV_MODE"] = "1"
try:
    from trackside.airflow import install as _trackside_install
    from trackside.sdk.operators.venv_relay import join as _trackside_join
except ImportError:
    pass
else:
    _trackside_install()
    _trackside_join($relay)

$source

if "$module" not in sys.modules:  # what was pickled in the DAG file's module may name the function
    import types
    sys.modules["$module"] = types.ModuleType("$module")
    sys.modules["$module"].$function = $function

with open(sys.argv[3]) as _file:
    virtualenv_string_args = [line.strip() for line in _file]
if os.path.getsize(sys.argv[1]):
    with open(sys.argv[1], "rb") as _file:
        _arguments = $library.load(_file)
else:
    _arguments = {"args": [], "kwargs": {}}
$before
try:
    _result = $function(*_arguments["args"], **_arguments["kwargs"])
except Exception as _error:
    with open(sys.argv[4], "w") as _file:
        _file.write(str(_error))
    raise
$after
with open(sys.argv[2], "wb") as _file:
    if _result is not None:
        $library.dump(_result, _file)
'''
)
_PENDULUM = '''
import datetime as _datetime

import pendulum as _pendulum


def _moments(value, wanted, change):
    if isinstance(value, dict):
        return {key: _moments(item, wanted, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_moments(item, wanted, change) for item in value])
    return change(value) if isinstance(value, wanted) else value


def _plain(moment):
    zone = _datetime.timezone(moment.utcoffset()) if moment.tzinfo is not None else None
    if moment.tzinfo is not None and getattr(moment, "timezone_name", None):
        from zoneinfo import ZoneInfo
        try:
            zone = ZoneInfo(moment.timezone_name)
        except KeyError:
            pass
    return _datetime.datetime(
        moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second, moment.microsecond, tzinfo=zone
    )


_arguments = _moments(_arguments, _datetime.datetime, _pendulum.instance)
'''


def script(*, source: str, function: str, module: str, library: str, relay: int | None, other_pendulum: bool) -> str:
    """The text. `relay`: descriptor of `venv_relay`. `other_pendulum`: pickles of pendulum would not be understood."""
    return _SCRIPT.substitute(
        source=source,
        function=function,
        module=module,
        library=library,
        relay=relay,
        before=_PENDULUM if other_pendulum else "",
        after="_result = _moments(_result, _pendulum.DateTime, _plain)\n" if other_pendulum else "",
    )


def names_other_pendulum(requirements: list[str]) -> bool:
    """Whether the requirements pin pendulum to another major version than the one installed here."""
    here = int(version("pendulum").partition(".")[0])
    for line in requirement_lines(requirements):
        found = re.match(r"pendulum\s*(==|~=|<=|<)\s*(\d+)", line)
        if found:
            operator, major = found[1], int(found[2])
            return major <= here if operator == "<" else major != here
    return False


def requirement_lines(requirements: list[str]) -> list[str]:
    """The lines of the requirements without comments and blank ones."""
    lines = (line.partition("#")[0].strip() for item in requirements for line in str(item).splitlines())
    return [line for line in lines if line]


def without_pendulum(value: Any) -> Any:
    """`value` with pendulum's moments as the standard library's."""
    import pendulum

    if isinstance(value, dict):
        return {key: without_pendulum(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([without_pendulum(item) for item in value])
    if isinstance(value, pendulum.DateTime):
        return dt.datetime.fromisoformat(value.isoformat()).replace(tzinfo=_zone(value))
    return value


def _zone(moment: Any) -> dt.tzinfo | None:
    from zoneinfo import ZoneInfo

    if moment.tzinfo is None:
        return None
    try:
        return ZoneInfo(moment.timezone_name)
    except (KeyError, TypeError, ValueError):
        return dt.timezone(moment.utcoffset())
