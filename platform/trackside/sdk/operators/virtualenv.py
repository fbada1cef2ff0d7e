"""Python operators that run their function in another interpreter: a fresh virtual environment, or one that is there.

For DAG authors; `decorated_venv` makes `@task.virtualenv` and its kin of these. Next door: `venv_environment` builds,
`venv_script` is what runs there, `venv_relay` lets it ask the server for variables and connections.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import importlib.util
import inspect
import json
import os
import shutil
import sys
import tempfile
import textwrap
import types
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from trackside.sdk.exceptions import AirflowException, AirflowSkipException, DeserializingResultError
from trackside.sdk.execution import current
from trackside.sdk.execution.callables import KeywordParameters
from trackside.sdk.execution.context import Context
from trackside.sdk.operators.branch import BaseBranchOperator
from trackside.sdk.operators.package_index import PackageIndexHook
from trackside.sdk.operators.python import PythonOperator
from trackside.sdk.operators.subprocess import SubprocessHook
from trackside.sdk.operators.venv_environment import Interpreter, Recipe, ask
from trackside.sdk.operators.venv_relay import serving
from trackside.sdk.operators.venv_script import names_other_pendulum, requirement_lines, script, without_pendulum
from trackside.sdk.variable import Variable

_LIBRARIES = ("pickle", "dill", "cloudpickle")
_PLAIN_KEYS = frozenset(
    {
        *("ds", "ds_nodash", "expanded_ti_count", "inlets", "outlets", "run_id", "task_instance_key_str", "test_mode"),
        *("ts", "ts_nodash", "ts_nodash_with_tz", "task_reschedule_count", "partition_key"),
    }
)
_PENDULUM_KEYS = frozenset(
    {
        *("data_interval_end", "data_interval_start", "logical_date", "prev_data_interval_end_success", "partition_date"),
        *("prev_data_interval_start_success", "prev_start_date_success", "prev_end_date_success"),
    }
)
_OWN_KEYS = frozenset({"macros", "conf", "dag", "dag_run", "task", "params", "triggering_asset_events"})
"""Entries of the context that another interpreter can get: always, with pendulum there, with Trackside there."""


class _BasePythonVirtualenvOperator(PythonOperator):
    """Runs the source of a function elsewhere: it imports what it needs itself and uses no names from outside."""

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        serializer: str | None = None,
        string_args: Iterable[str] | None = None,
        expect_airflow: bool = True,
        skip_on_exit_code: int | Container[int] | None = None,
        env_vars: dict[str, str] | None = None,
        inherit_env: bool = True,
        **kwargs: Any,
    ) -> None:
        if not isinstance(python_callable, types.FunctionType) or python_callable.__name__ == "<lambda>":
            raise ValueError(f"{type(self).__name__} only supports functions for python_callable arg")
        if inspect.isgeneratorfunction(python_callable):
            raise ValueError(f"{type(self).__name__} does not support using 'yield' in python_callable")
        super().__init__(python_callable=python_callable, **kwargs)
        self.string_args = string_args or []
        self.serializer = serializer or "pickle"
        if self.serializer not in _LIBRARIES:
            known = ", ".join(map(repr, _LIBRARIES))
            raise AirflowException(f"Unsupported serializer {self.serializer!r}. Expected one of {known}")
        self.expect_airflow = expect_airflow
        if isinstance(skip_on_exit_code, Container):
            self.skip_on_exit_code: Container[int] = skip_on_exit_code
        else:
            self.skip_on_exit_code = [] if skip_on_exit_code is None else [skip_on_exit_code]
        self.env_vars = env_vars
        self.inherit_env = inherit_env

    @cached_property
    def subprocess_hook(self) -> SubprocessHook:
        """What runs the other interpreter."""
        return SubprocessHook()

    def _context_keys(self) -> frozenset[str]:
        """Entries of the context that the function may ask for."""
        raise NotImplementedError

    def _other_pendulum(self) -> bool:
        return False

    def execute(self, context: Any) -> Any:
        """Call the function there, with those entries of the context that can travel."""
        keys = self._context_keys()
        few = context.copy() if isinstance(context, Context) else dict(context)
        for key in [key for key in few if key not in keys]:
            del few[key]
        return super().execute(few)

    def determine_kwargs(self, context: Mapping[str, Any]) -> Mapping[str, Any]:
        """Keyword arguments; of what only `**kwargs` asks for, those that can be pickled."""
        found = dict(KeywordParameters.determine(self.python_callable, self.op_args, context).unpacking())
        named = {*inspect.signature(self.python_callable).parameters, *self.op_kwargs}
        for key in [key for key in found if key not in named and key not in _PLAIN_KEYS]:
            try:
                self._library.dumps(found[key])
            except Exception:
                self.log.debug("The function does not get %r: it cannot be pickled", key)
                del found[key]
        return found

    def get_python_source(self) -> str:
        """Source of the function, dedented."""
        return textwrap.dedent(inspect.getsource(self.python_callable))

    def on_kill(self) -> None:
        """End the other interpreter."""
        self.subprocess_hook.send_sigterm()

    @property
    def _library(self) -> Any:
        """The serializer; where it is not installed for the worker pickle, which understands what it says of plain values."""
        return importlib.import_module(self.serializer if self._serializer_is_here() else "pickle")

    def _serializer_is_here(self) -> bool:
        return importlib.util.find_spec(self.serializer) is not None

    def _run_in(self, python: Path) -> Any:
        """Run the function with this interpreter; its result. Raises AirflowException, AirflowSkipException."""
        with tempfile.TemporaryDirectory(prefix="venv-call") as tmp, serving(current.comms()) as relay:
            folder = Path(tmp)
            given, result, strings, said, code = (folder / n for n in ("in", "out", "strings.txt", "error.log", "script.py"))
            given.write_bytes(self._arguments())
            strings.write_text("\n".join(map(str, self.string_args)))
            text = script(
                source=self.get_python_source(), function=self.python_callable.__name__, module=self.python_callable.__module__,
                library=self.serializer, relay=relay, other_pendulum=self._other_pendulum(),
            )  # fmt: skip
            code.write_text(text, encoding="utf-8")
            command = [os.fspath(path) for path in (python, code, given, result, strings, said)]
            fds = () if relay is None else (relay,)
            ended = self.subprocess_hook.run_command(command, self._environment(), cwd=os.fspath(Path.cwd()), pass_fds=fds)
            if ended.exit_code in self.skip_on_exit_code:
                raise AirflowSkipException(f"Process exited with code {ended.exit_code}. Skipping.")
            if ended.exit_code != 0:
                words = said.read_text(errors="replace") if said.exists() else ended.output
                raise AirflowException(f"Process returned non-zero exit status {ended.exit_code}.\n{words}")
            return self._result(result)

    def _arguments(self) -> bytes:
        args, kwargs = [_real(item) for item in self.op_args], {key: _real(value) for key, value in self.op_kwargs.items()}
        if not args and not kwargs:
            return b""
        if self._other_pendulum():
            args, kwargs = without_pendulum(args), without_pendulum(kwargs)
        self.log.info("Use %r as serializer.", self.serializer)
        try:
            dumped: bytes = self._library.dumps({"args": args, "kwargs": kwargs})
        except Exception as error:
            bad = [key for key, value in kwargs.items() if not self._can_travel(value)]
            if not bad:
                raise
            raise AirflowException(
                f"Failed to serialize op_kwargs. The following keys contain objects that cannot be pickled: {bad}. "
                "Pass the attributes you need instead, for example '{{ ti.run_id }}' instead of '{{ ti }}'."
            ) from error
        return dumped

    def _can_travel(self, value: Any) -> bool:
        try:
            self._library.dumps(value)
        except Exception:
            return False
        return True

    def _result(self, path: Path) -> Any:
        raw = path.read_bytes() if path.exists() else b""
        if not raw:
            return None
        try:
            return self._library.loads(raw)
        except ValueError as error:
            raise DeserializingResultError from error
        except ModuleNotFoundError as error:
            raise AirflowException(
                f"The result cannot be read here: {error}. Install that package on the worker, or return plain values."
            ) from error

    def _environment(self) -> dict[str, str]:
        env = {**(os.environ if self.inherit_env else {}), **(self.env_vars or {})}
        folder = os.environ.get("TRACKSIDE_DAGS_FOLDER")
        if folder:  # the function may import modules that lie beside the DAG file
            env["PYTHONPATH"] = os.pathsep.join(filter(None, (env.get("PYTHONPATH"), folder)))
        return env


def _real(value: Any) -> Any:
    """Lazy sequences of mapped results as lists: their class may be unknown there."""
    plain = getattr(value, "__xcom_value__", None)
    return plain() if callable(plain) else value


class PythonVirtualenvOperator(_BasePythonVirtualenvOperator):
    """Runs the function in a virtual environment with `requirements`, made for this try or kept in `venv_cache_path`."""

    template_fields: Collection[str] = (
        *("requirements", "index_urls", "index_urls_from_connection_ids", "venv_cache_path"),
        *PythonOperator.template_fields,
    )
    template_ext: Sequence[str] = (".txt",)

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        requirements: Iterable[str] | str | None = None,
        python_version: str | None = None,
        system_site_packages: bool = True,
        pip_install_options: list[str] | None = None,
        index_urls: Collection[str] | str | None = None,
        index_urls_from_connection_ids: Collection[str] | str | None = None,
        venv_cache_path: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        if python_version is not None and not isinstance(python_version, str):
            raise AirflowException("Passing non-string types (e.g. int or float) as python_version not supported")
        if python_version and python_version[0] != str(sys.version_info.major) and (kwargs.get("op_args") or kwargs.get("op_kwargs")):
            raise AirflowException(
                "Passing op_args or op_kwargs is not supported across different Python major versions for "
                "PythonVirtualenvOperator. Please use string_args. "
                f"Sys version: {sys.version_info}. Virtual environment version: {python_version}"
            )
        super().__init__(python_callable=python_callable, **kwargs)
        self.requirements: Any = _listed(requirements) or []
        self.python_version = python_version
        self.system_site_packages = system_site_packages
        self.pip_install_options = pip_install_options
        self.index_urls: Any = _listed(index_urls)
        self.index_urls_from_connection_ids: Any = _listed(index_urls_from_connection_ids)
        self.venv_cache_path = venv_cache_path

    def execute_callable(self) -> Any:
        """Make or find the environment, and run the function there."""
        recipe = self._recipe()
        if self.venv_cache_path:
            return self._run_in(self._cached(recipe, Path(self.venv_cache_path)))
        with tempfile.TemporaryDirectory(prefix="venv") as folder:
            return self._run_in(recipe.make(Path(folder), self.subprocess_hook))

    def _recipe(self) -> Recipe:
        requirements = [str(item) for item in _listed(self.requirements) or []]
        there = self.serializer == "pickle" or (self._recipe_shares() and self._serializer_is_here())
        if not there and self.serializer not in map(_package, requirements):
            requirements.append(self.serializer)
        urls = _listed(self.index_urls)
        for conn_id in _listed(self.index_urls_from_connection_ids) or ():
            urls = [*(urls or ()), PackageIndexHook(conn_id).get_connection_url()]
        return Recipe(
            sorted(requirements), self.python_version, self.system_site_packages, self.pip_install_options or (), urls
        )

    def _cached(self, recipe: Recipe, parent: Path) -> Path:
        """The interpreter of the kept environment for this recipe; one process makes it, others wait for it."""
        facts = {**vars(recipe), "cache_key": Variable.get("python_virtualenv_operator_cache_key", ""), "worker": sys.prefix}
        text = json.dumps(facts, sort_keys=True, default=list)
        digest = hashlib.sha256(text.encode()).hexdigest()
        folder = parent / f"venv-{digest[:12]}"
        marker = folder / "install_complete_marker.json"
        parent.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if marker.exists() and marker.read_text() == digest:
                self.log.info("Reusing cached Python virtual environment in %s", folder)
                return folder / "bin" / "python"
            shutil.rmtree(folder, ignore_errors=True)  # what a killed try left unfinished
            try:
                python = recipe.make(folder, self.subprocess_hook)
            except Exception as error:
                shutil.rmtree(folder, ignore_errors=True)
                raise AirflowException(f"Unable to create new virtual environment in {folder}") from error
            marker.write_text(digest)
        self.log.info("New Python virtual environment created in %s", folder)
        return python

    def _other_pendulum(self) -> bool:
        return names_other_pendulum(_listed(self.requirements) or [])

    def _context_keys(self) -> frozenset[str]:
        if self._recipe_shares():
            return _PLAIN_KEYS | _PENDULUM_KEYS | _OWN_KEYS
        wanted = {_package(line) for line in requirement_lines(_listed(self.requirements) or [])}
        if wanted & {"apache-airflow", "trackside"}:
            return _PLAIN_KEYS | _PENDULUM_KEYS | _OWN_KEYS
        return _PLAIN_KEYS | _PENDULUM_KEYS if "pendulum" in wanted else _PLAIN_KEYS

    def _recipe_shares(self) -> bool:
        return Recipe((), self.python_version, self.system_site_packages).shares_worker_packages


def _package(requirement: str) -> str:
    """Name of the package that a line of requirements asks for."""
    end = next((i for i, char in enumerate(requirement) if not (char.isalnum() or char in "-_.")), len(requirement))
    return requirement[:end].lower().replace("_", "-")


def _listed(value: Any) -> list[Any] | None:
    if value is None:
        return None
    return [value] if isinstance(value, str) else list(value)


class BranchPythonVirtualenvOperator(BaseBranchOperator, PythonVirtualenvOperator):
    """The function, run in a virtual environment, names the tasks to follow."""

    def choose_branch(self, context: Any) -> str | Iterable[str] | None:
        """Ask the function."""
        chosen: str | Iterable[str] | None = PythonVirtualenvOperator.execute(self, context)
        return chosen


class ExternalPythonOperator(_BasePythonVirtualenvOperator):
    """Runs the function with the interpreter `python` (an absolute path), which is there already."""

    template_fields: Collection[str] = ("python", *PythonOperator.template_fields)

    def __init__(
        self, *, python: str, python_callable: Callable[..., Any], expect_pendulum: bool = False, **kwargs: Any
    ) -> None:
        if not python:
            raise ValueError("Python Path must be defined in ExternalPythonOperator")
        super().__init__(python_callable=python_callable, **kwargs)
        self.python = python
        self.expect_pendulum = expect_pendulum

    def execute_callable(self) -> Any:
        """Run the function there."""
        if self._interpreter.major != sys.version_info.major and (self.op_args or self.op_kwargs):
            raise AirflowException(
                "Passing op_args or op_kwargs is not supported across different Python major versions for "
                "ExternalPythonOperator. Please use string_args."
            )
        return self._run_in(Path(self.python))

    @cached_property
    def _interpreter(self) -> Interpreter:
        path = Path(self.python)
        if not path.exists():
            raise ValueError(f"Python Path '{path}' must exists")
        if not path.is_file():
            raise ValueError(f"Python Path '{path}' must be a file")
        if not path.is_absolute():
            raise ValueError(f"Python Path '{path}' must be an absolute path.")
        return ask(path)

    def _context_keys(self) -> frozenset[str]:
        there = self._interpreter
        if self.expect_airflow and there.trackside:
            return _PLAIN_KEYS | _PENDULUM_KEYS | _OWN_KEYS
        if self.expect_pendulum and not there.pendulum:
            self.log.warning("pendulum is not installed for %s: the function gets no dates as objects; install it there", self.python)
        return _PLAIN_KEYS | _PENDULUM_KEYS if there.pendulum else _PLAIN_KEYS


class BranchExternalPythonOperator(BaseBranchOperator, ExternalPythonOperator):
    """The function, run by another interpreter, names the tasks to follow."""

    def choose_branch(self, context: Any) -> str | Iterable[str] | None:
        """Ask the function."""
        chosen: str | Iterable[str] | None = ExternalPythonOperator.execute(self, context)
        return chosen
