"""Which provider packages to install, in which versions, and what else they need: decided here, done by `providers`.

Airflow's own distributions are left out, because the bridge (`trackside.airflow`) stands in their place. A package that
Trackside itself is built on keeps its version: where a provider asks for another one the plan says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from trackside.cli.words import Problem

PREFIX = "apache-airflow-providers-"
AIRFLOW = frozenset({"apache-airflow", "apache-airflow-core", "apache-airflow-task-sdk"})
OWN = "trackside"
_Found = dict[str, Distribution]
SILENT = {
    "anyio": "anyio>=4",
    "asgiref": "asgiref>=3.11",
    "attr": "attrs>=24.2",
    "attrs": "attrs>=24.2",
    "cachetools": "cachetools>=6",
    "cryptography": "cryptography>=44.0.3",
    "deprecated": "deprecated>=1.2.13",
    "dill": "dill>=0.3",
    "fsspec": "fsspec>=2023.10.0",
    "httpx": "httpx>=0.27",
    "jwt": "pyjwt>=2.11",
    "lazy_object_proxy": "lazy-object-proxy>=1.2",
    "methodtools": "methodtools>=0.4.7",
    "more_itertools": "more-itertools>=9",
    "pydantic": "pydantic>=2.11",
    "requests": "requests>=2.32,<3",
    "slugify": "python-slugify>=5",
    "sqlalchemy": "sqlalchemy[asyncio]>=2.0.50",
    "structlog": "structlog>=26.1",
    "tabulate": "tabulate>=0.9",
    "tenacity": "tenacity>=8.3",
    "upath": "universal-pathlib>=0.3.8",
    "urllib3": "urllib3>=2.1",
    "uuid6": "uuid6>=2024.7.10",
    "yaml": "pyyaml>=6.0.3",
}
"""What Airflow's own packages bring along and providers import without saying so: module → requirement."""
_IMPORT = re.compile(r"^\s*(?:from|import)\s+(\w+)", re.MULTILINE)
Fetch = Callable[[list[Requirement]], Iterable[Distribution]]
"""Gets these packages, without what they need, somewhere aside, and returns their metadata."""


class Refused(Problem):
    """The packages asked for cannot be installed or removed; the message says what to ask for instead."""


@dataclass(slots=True)
class Plan:
    """What to do. `pins`: provider packages as `name==version`; `others`: what they need besides; `keep`: versions that must not move."""

    pins: list[str]
    others: list[str]
    keep: list[str]
    warnings: list[str] = field(default_factory=list)


def requirement(word: str) -> Requirement:
    """A package by its short name (`http`, `cncf.kubernetes`) or its full one, with extras and version. Raises Refused."""
    try:
        found = Requirement(word)
    except InvalidRequirement:
        raise Refused(f"{word!r} is no name of a package; write http, amazon[s3fs] or http==6.3.0") from None
    name = canonicalize_name(found.name)
    if name in AIRFLOW:
        raise Refused(f"{name} is not installed: Trackside stands in its place. Name provider packages, for example http")
    if name == "airflow" or not re.search(r"airflow|provider", name):
        name = canonicalize_name(PREFIX + name)
    found.name = name
    return found


def name_of(found: Requirement) -> str:
    """Its distribution."""
    return canonicalize_name(found.name)


def make(wanted: list[Requirement], fetch: Fetch) -> Plan:
    """The plan for these packages and the providers they need. Raises Refused when their wishes contradict each other."""
    here = installed()
    chosen: dict[str, Distribution] = {}
    extras: dict[str, set[str]] = {}
    others: dict[str, Requirement] = {}
    ask, known = wanted, -1
    while ask or known != (known := sum(map(len, extras.values()))):  # an extra of a package in the plan needs another round
        if ask:
            chosen |= {_name(found): found for found in fetch([_plain(one) for one in ask])}
        for one in ask:
            extras.setdefault(name_of(one), set()).update(one.extras)
        ask = []
        for name in list(chosen):
            for need in _needs(chosen[name], extras.get(name, set())):
                if name_of(need) in AIRFLOW:
                    continue
                if not name_of(need).startswith(PREFIX):
                    others[str(need)] = need
                elif not _served(need, chosen, here, extras, name):
                    ask.append(need)
        ask = _merged(ask)
    others |= {text: Requirement(text) for found in chosen.values() for text in _silent(found)}
    own = owned()
    warnings = [
        f"{need.name} {own[name].version} stays, because Trackside is built on it; the packages ask for {need.specifier}"
        for need in others.values()
        if (name := name_of(need)) in own and not need.specifier.contains(own[name].version, prereleases=True)
    ]
    needs = [text for text, need in sorted(others.items()) if (name := name_of(need)) not in own or _extra_needed(need, own[name])]
    pins = sorted(f"{name}{_bracket(extras.get(name))}=={found.version}" for name, found in chosen.items())
    return Plan(pins, needs, sorted(f"{name}=={found.version}" for name, found in own.items()), sorted(set(warnings)))


def _served(need: Requirement, chosen: _Found, here: _Found, extras: dict[str, set[str]], by: str) -> bool:
    """Whether a provider that another one needs is planned or installed. Raises Refused if it is planned in a wrong version."""
    name = name_of(need)
    extras.setdefault(name, set()).update(need.extras)
    if name in chosen:
        if not need.specifier.contains(chosen[name].version, prereleases=True):
            raise Refused(f"{by} needs {name}{need.specifier}, but the plan has {chosen[name].version}; ask for versions that fit together")
        return True
    return name in here and not need.extras and need.specifier.contains(here[name].version, prereleases=True)


def _merged(needs: list[Requirement]) -> list[Requirement]:
    """One requirement for each package, with what all of them say about its version."""
    found: dict[str, Requirement] = {}
    for need in needs:
        if (first := found.setdefault(name_of(need), need)) is not need:
            first.specifier &= need.specifier
            first.extras |= need.extras
    return list(found.values())


def _needs(of: Distribution, extras: set[str]) -> Iterator[Requirement]:
    """What a package needs here, with these extras; markers are evaluated and gone."""
    for text in of.requires or ():
        need = Requirement(text)
        if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            need.marker = None
            yield need


def _silent(of: Distribution) -> set[str]:
    """What the package imports that it leaves to Airflow to bring."""
    used: set[str] = set()
    for path in of.files or ():
        if path.suffix == ".py" and (file := Path(str(of.locate_file(path)))).is_file():
            used.update(_IMPORT.findall(file.read_text(encoding="utf-8", errors="replace")))
    return {SILENT[module] for module in used if module in SILENT}


def _plain(one: Requirement) -> Requirement:
    return Requirement(f"{name_of(one)}{one.specifier}")


def _bracket(extras: set[str] | None) -> str:
    return f"[{','.join(sorted(extras))}]" if extras else ""


def _extra_needed(need: Requirement, own: Distribution) -> bool:
    """Whether the requirement asks for extras that Trackside itself does not bring."""
    return any(name_of(more) not in owned() for more in _needs(own, need.extras))


# --- what is here ---------------------------------------------------------------------------------------------------
def installed() -> dict[str, Distribution]:
    """The provider packages of this environment, by name."""
    return {
        _name(found): found for found in distributions() if any(point.group == "apache_airflow_provider" for point in found.entry_points)
    }


def owned() -> dict[str, Distribution]:
    """What Trackside itself is built on, as far as it is installed: these versions must not move."""
    found: dict[str, Distribution] = {}
    todo = [(OWN, frozenset({"server"}))]
    seen = set()
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            one = distribution(name)
        except PackageNotFoundError:
            continue
        found[name] = one
        todo += [(name_of(need), frozenset(need.extras)) for need in _needs(one, set(extras))]
    found.pop(OWN, None)
    return found


def check_removal(names: list[str]) -> None:
    """Raises Refused for packages that are not here or that others need."""
    here = installed()
    for name in names:
        if name not in here:
            raise Refused(f"{name} is not installed; `trackside providers list` shows what is")
        users = [user for user in here if user not in names and any(name_of(n) == name for n in _needs(here[user], set()))]
        if users:
            raise Refused(f"{name} is needed by {', '.join(sorted(users))}; remove them too")


def _name(of: Distribution) -> str:
    return canonicalize_name(of.metadata["Name"])
