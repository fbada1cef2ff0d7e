"""Which executors a site has: the words of TRACKSIDE_EXECUTOR, the names DAG files use for them, and their classes.

`local,celery,kubernetes` — the first is the default. `gpu:kubernetes` gives one an alias; `alias:package.module.Class` names
any class. DAG files may say the alias, Airflow's class name (`KubernetesExecutor`) or its module path.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points

from trackside.executors.base import Executor, ExecutorProblem

GROUP = "trackside.executors"
LOCAL = "local"
BUILT_IN = {
    "celery": "trackside.executors.celery.executor:CeleryExecutor",
    "kubernetes": "trackside.executors.kubernetes.executor:KubernetesExecutor",
}
AIRFLOW_NAMES = {
    "LocalExecutor": LOCAL,
    "airflow.executors.local_executor.LocalExecutor": LOCAL,
    "CeleryExecutor": "celery",
    "airflow.providers.celery.executors.celery_executor.CeleryExecutor": "celery",
    "KubernetesExecutor": "kubernetes",
    "airflow.providers.cncf.kubernetes.executors.kubernetes_executor.KubernetesExecutor": "kubernetes",
}
_ALIAS = re.compile(r"[a-zA-Z][\w-]{0,62}")


@dataclass(frozen=True, slots=True)
class Configured:
    """One executor of the site."""

    alias: str
    kind: str
    """`local`, a name of an entry point, or `package.module.Class`."""


class WrongExecutors(ValueError):
    """TRACKSIDE_EXECUTOR cannot be used; the message names the word and says what it may be."""


def configured(words: Sequence[str]) -> tuple[Configured, ...]:
    """The executors that TRACKSIDE_EXECUTOR names, the default first. Raises WrongExecutors; imports nothing."""
    found: dict[str, Configured] = {}
    for word in words or (LOCAL,):
        head, colon, tail = word.partition(":")
        kind = AIRFLOW_NAMES.get(tail or head, tail or head)
        alias = head if colon else kind.rpartition(".")[2] if "." in kind else kind
        if not _ALIAS.fullmatch(alias):
            raise WrongExecutors(f"TRACKSIDE_EXECUTOR: {word!r} has no usable alias. Write alias:kind (letters, digits, - and _).")
        if "." not in kind and kind not in (LOCAL, *BUILT_IN) and kind not in known_kinds():
            have = ", ".join(known_kinds())
            raise WrongExecutors(f"TRACKSIDE_EXECUTOR: {kind!r} is no executor. There are {have}, or alias:package.module.Class.")
        if alias in found:
            raise WrongExecutors(f"TRACKSIDE_EXECUTOR: {alias!r} is there twice. Give one another alias: name:{kind}.")
        found[alias] = Configured(alias, kind)
    return tuple(found.values())


def known_kinds() -> list[str]:
    """Names that TRACKSIDE_EXECUTOR understands here."""
    return [LOCAL, *BUILT_IN, *sorted(e.name for e in entry_points(group=GROUP) if e.name not in BUILT_IN)]


def names(executors: Sequence[Configured]) -> dict[str, str]:
    """Every name a DAG file may use → alias. A name that fits several executors is the first one's."""
    found: dict[str, str] = {}
    for one in executors:
        others = [name for name, kind in AIRFLOW_NAMES.items() if kind == one.kind]
        for name in (one.alias, one.kind, one.kind.rpartition(".")[2], *others):
            found.setdefault(name, one.alias)
    return found | {one.alias: one.alias for one in executors}


def unknown(name: str, executors: Sequence[Configured]) -> str | None:
    """What is wrong with an `executor=` of a DAG file; None if nothing is."""
    if name in names(executors):
        return None
    have = ", ".join(one.alias for one in executors)
    return f"executor {name!r} is not configured here; there is {have}. Use one of them, or add it to TRACKSIDE_EXECUTOR."


def make(one: Configured, settings: Mapping[str, str]) -> Executor:
    """The executor itself. Raises ExecutorProblem."""
    target = BUILT_IN.get(one.kind)
    for entry in entry_points(group=GROUP) if target is None else ():
        if entry.name == one.kind:
            target = entry.value
    module, _, name = target.partition(":") if target else one.kind.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        what = f"Executor {one.alias} ({one.kind}) cannot be loaded: {error}."
        raise ExecutorProblem(f"{what} Install its packages where `trackside executor` runs.") from error
    if not (isinstance(cls, type) and issubclass(cls, Executor)):
        raise ExecutorProblem(f"Executor {one.alias}: {module}.{name} is no subclass of trackside.executors.base.Executor.")
    executor: Executor = cls(one.alias, settings)
    return executor
