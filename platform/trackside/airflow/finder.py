"""Makes the modules below `airflow`, lazily, from the table in `names`.

For `trackside.airflow.install()`. A bridge module imports nothing until one of its names is read. Provider packages
that are installed on the machine are found through the path of `airflow.providers`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from trackside.airflow.names import HINTS, MODULES, PACKAGES, Names

ROOT = "airflow"
PROVIDERS = "airflow.providers"
STANDARD_PROVIDER = "airflow.providers.standard"
EXAMPLES = "airflow.example_dags"
"""Some of Airflow's example files import helpers by this name: a copy at `airflow/example_dags` in the DAGs folder serves."""


def missing(name: str) -> str:
    """The one sentence for a module or name the bridge does not have."""
    hint = next((text for prefix, text in HINTS.items() if name == prefix or name.startswith(f"{prefix}.")), None)
    return f"{name} is not available in Trackside yet; {hint or HINTS['']}"


class BridgeLoader(Loader):
    """Makes one bridge module."""

    def create_module(self, spec: ModuleSpec) -> BridgeModule:
        """See `importlib.abc.Loader`."""
        return BridgeModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is executed: names are looked up when they are read."""


class BridgeModule(ModuleType):
    """A module whose names come from the table."""

    def __init__(self, name: str) -> None:
        super().__init__(name, f"{name}, as Trackside has it.")
        self.__dict__["_names"] = MODULES.get(name, {})

    def __getattr__(self, name: str) -> Any:
        names: Names = self.__dict__["_names"]
        if name == "__all__":
            return sorted(self._public())
        if name in names and name != "*":
            return self._keep(name, _load(names[name], f"{self.__name__}.{name}"))
        if not name.startswith("__"):
            if f"{self.__name__}.{name}" in PACKAGES:
                return importlib.import_module(f"{self.__name__}.{name}")
            if "*" in names and hasattr(target := _module(names["*"]), name):
                return self._keep(name, getattr(target, name))
        text = missing(f"{self.__name__}.{name}")
        if _asked_by_import() and not name.startswith("__") and not _may_be_installed(self.__name__):
            import difflib

            if meant := difflib.get_close_matches(name, self._public(), n=1, cutoff=0.8):
                text = f"{self.__name__} has no {name}; perhaps {meant[0]} is meant."
            raise ImportError(text, name=f"{self.__name__}.{name}")
        raise AttributeError(text)

    def _keep(self, name: str, value: Any) -> Any:
        self.__dict__[name] = value
        return value

    def _public(self) -> set[str]:
        names: Names = self.__dict__["_names"]
        found = {name for name in names if name != "*" and not name.startswith("_")}
        if "*" in names:
            target = _module(names["*"])
            found |= set(getattr(target, "__all__", None) or [n for n in vars(target) if not n.startswith("_")])
        return found

    def __dir__(self) -> list[str]:
        return sorted({*self.__dict__, *self._public()})


def _asked_by_import() -> bool:
    """Whether `from … import name` is asking (which may get an ImportError), not `hasattr` (which may not)."""
    frame = sys._getframe(2)
    return frame.f_code.co_name == "_handle_fromlist"


def _may_be_installed(module: str) -> bool:
    """Whether names of this module may be modules of a provider package (or of Airflow's examples) on this machine."""
    return any(module == top or module.startswith(f"{top}.") for top in (PROVIDERS, EXAMPLES))


def _module(target: str) -> ModuleType:
    return importlib.import_module(f"trackside.{target}")


def _load(target: Any, asked: str) -> Any:
    """`"sdk.dag:DAG"` → the class; anything that is no such text is the value itself."""
    if not isinstance(target, str) or ":" not in target:
        return target
    module, _, attribute = target.partition(":")
    try:
        holder = _module(module)
        return holder if not attribute else getattr(holder, attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        name = getattr(error, "name", None) or ""
        if isinstance(error, ModuleNotFoundError) and not name.startswith("trackside"):
            raise  # a dependency is missing: its own words say more
        raise ImportError(missing(asked), name=asked) from error


class BridgeFinder(MetaPathFinder):
    """First in `sys.meta_path` while the bridge is installed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The ordinary search for installed providers; a spec for modules of the table; else a clear refusal."""
        if fullname != ROOT and not fullname.startswith(f"{ROOT}."):
            return None
        if (found := self._installed(fullname, path, target)) is not None:
            return found
        if fullname in PACKAGES:
            spec = ModuleSpec(fullname, BridgeLoader(), origin="trackside.airflow", is_package=True)
            spec.submodule_search_locations = _Folders(fullname)  # type: ignore[assignment]  # any sequence serves
            return spec
        raise ModuleNotFoundError(missing(fullname), name=fullname)

    def _installed(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
        """A module of an installed package. Those of the table win in the standard provider, and so do folders that several share."""
        if not _may_be_installed(fullname) or fullname == PROVIDERS:
            return None
        ours = fullname in PACKAGES
        if ours and (fullname == STANDARD_PROVIDER or fullname.startswith(f"{STANDARD_PROVIDER}.")):
            return None
        for finder in sys.meta_path:
            if finder is not self and (found := finder.find_spec(fullname, path, target)) is not None:
                return None if ours and found.loader is None else found
        return None


class _Folders(Sequence[str]):
    """`__path__` of a bridge module: the folders of its name on the path, where provider packages may add modules.

    Looked up at each use, because the DAGs folder joins the path after plugins have imported what they need.
    """

    def __init__(self, name: str) -> None:
        self._relative = Path(*name.split(".")) if _may_be_installed(name) else None

    def _now(self) -> list[str]:
        if self._relative is None:
            return []
        places = (Path(entry or ".") / self._relative for entry in sys.path)
        return list(dict.fromkeys(str(place) for place in places if place.is_dir()))

    def __getitem__(self, index: Any) -> Any:
        return self._now()[index]

    def __len__(self) -> int:
        return len(self._now())

    def __repr__(self) -> str:
        return repr(self._now())


_finder = BridgeFinder()


def install() -> None:
    """Let `import airflow…` in this process find Trackside. Repeating it changes nothing."""
    if is_installed():
        return
    _forget()
    sys.meta_path.insert(0, _finder)


def uninstall() -> None:
    """Undo `install()` (tests)."""
    if is_installed():
        sys.meta_path.remove(_finder)
        _forget()


def is_installed() -> bool:
    """Whether the bridge is active in this process."""
    return _finder in sys.meta_path


def _forget() -> None:
    for name in [n for n in sys.modules if n == ROOT or n.startswith(f"{ROOT}.")]:
        del sys.modules[name]


PRELOADED = (
    *("airflow.sdk", "airflow.models", "airflow.decorators", "airflow.exceptions"),
    *("airflow.providers.standard.operators.python", "airflow.providers.standard.operators.bash"),
    "airflow.providers.standard.operators.empty",
)


def preload() -> None:
    """Import what most DAG files import, and what their tasks need: for warm parents, before they fork."""
    install()
    for name in PRELOADED:
        module = importlib.import_module(name)
        for attribute in module.__all__:
            try:
                getattr(module, attribute)
            except (ImportError, AttributeError):
                continue
    for name in ("trackside.sdk.execution.run", "trackside.sdk._jinja", "pendulum"):
        importlib.import_module(name)
