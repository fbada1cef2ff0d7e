"""Cluster policies: what an installation imposes on all DAGs (rows 1.265-1.266).

From `airflow_local_settings.py` (plugins folder, the folder `config` beside it, DAG folder, or installed) and from entry
points of group `airflow.policy`. Used by `sdk.parsing` in parse and task processes. Several policies of one name all run.
Difference to Airflow: `task_instance_mutation_hook` is asked while the file is parsed, once per try number and without a
run (`dag_run=None`), because no server process runs user code; see `sdk.plugins.tries`.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from trackside.sdk.exceptions import AirflowClusterPolicyError, AirflowClusterPolicySkipDag, AirflowClusterPolicyViolation
from trackside.sdk.plugins import entries
from trackside.sdk.plugins.hooks import HookimplMarker, implementations

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

hookimpl = HookimplMarker("airflow.policy")
NAMES = (
    *("task_policy", "dag_policy", "task_instance_mutation_hook", "pod_mutation_hook"),
    *("get_airflow_context_vars", "get_dagbag_import_timeout"),
)
MODULE = "airflow_local_settings"
LONGEST_IMPORT_S = 3600.0

_found: dict[str, list[Callable[..., Any]]] | None = None


@functools.cache
def entry_points() -> tuple[EntryPoint, ...]:
    """Installed packages that bring policies; only names are read."""
    return entries.entry_points("airflow.policy")


def load(*, again: bool = False) -> dict[str, list[Callable[..., Any]]]:
    """Name → policies, once per process (`again`: anew). Raises what loading `airflow_local_settings` raises: an
    installation's rules that cannot be read must not be passed over."""
    global _found
    if _found is not None and not again:
        return _found
    found: dict[str, list[Callable[..., Any]]] = {name: [] for name in NAMES}
    for entry in entry_points():
        for name, function in implementations(entry.load(), "airflow.policy").items():
            found.setdefault(name, []).append(function)
    if importlib.util.find_spec(MODULE) is not None:
        module = importlib.import_module(MODULE)
        for name in NAMES:
            if callable(policy := getattr(module, name, None)):
                found[name].append(policy)
        for name, function in implementations(module, "airflow.policy").items():
            if function not in found.setdefault(name, []):
                found[name].append(function)
    _found = found
    return found


def forget() -> None:
    """Load anew when next asked (after a file changed)."""
    global _found
    _found = None


def hold_off() -> None:
    """Have none in this process: a warm parent reads a sample file, but never runs the installation's code."""
    global _found
    _found = {name: [] for name in NAMES}


@contextlib.contextmanager
def held_off() -> Iterator[None]:
    """`hold_off` inside the block."""
    global _found
    before = _found
    hold_off()
    try:
        yield
    finally:
        _found = before


def apply(dag: Any) -> bool:
    """Let the policies look at (and change) a finished DAG; False: leave it out without a word.

    Raises AirflowClusterPolicyViolation, and AirflowClusterPolicyError for a policy that failed itself.
    """
    found = load()
    if not (found["dag_policy"] or found["task_policy"]):
        return True
    try:
        for policy in found["dag_policy"]:
            policy(dag)
        for task in list(dag.tasks):
            for policy in found["task_policy"]:
                policy(task)
    except AirflowClusterPolicySkipDag:
        return False
    except AirflowClusterPolicyViolation:
        raise
    except Exception as error:
        raise AirflowClusterPolicyError(f"A cluster policy failed: {type(error).__name__}: {error}. Mend {MODULE}.py") from error
    return True


def mutate(ti: Any, dag_run: Any = None) -> None:
    """`task_instance_mutation_hook` of all policies."""
    for hook in load()["task_instance_mutation_hook"]:
        try:
            hook(ti, dag_run=dag_run)
        except TypeError:  # older hooks take the instance alone
            hook(ti)


def context_vars(context: Any) -> dict[str, str]:
    """What `get_airflow_context_vars` adds to a task's environment. Raises TypeError, as Airflow does, for what is no text."""
    out: dict[str, str] = {}
    for function in load()["get_airflow_context_vars"]:
        out.update(function(context) or {})
    for key, value in out.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"get_airflow_context_vars gave {key!r}: {value!r}; names and values must be texts. Mend {MODULE}.py")
    return out


def import_timeout(path: str) -> float | None:
    """Seconds that `get_dagbag_import_timeout` gives a file, the last policy's if several have one; None without a policy.

    0 or less means without a limit; one hour is, because a file that hangs must not hold its place for ever. Raises
    AirflowClusterPolicyError for what is no number and for a policy that fails.
    """
    found: float | None = None
    for policy in load()["get_dagbag_import_timeout"]:
        try:
            seconds = policy(path)
        except Exception as error:
            said = f"get_dagbag_import_timeout failed for {path}: {type(error).__name__}: {error}. Mend {MODULE}.py"
            raise AirflowClusterPolicyError(said) from error
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise AirflowClusterPolicyError(f"get_dagbag_import_timeout gave {seconds!r} for {path}; it must give a number of seconds")
        found = min(float(seconds), LONGEST_IMPORT_S) if seconds > 0 else LONGEST_IMPORT_S
    return found


def pod_mutation_hooks() -> list[Callable[..., Any]]:
    """Hooks for the pods of tasks; whoever makes pods calls them where user code may run."""
    return list(load()["pod_mutation_hook"])
