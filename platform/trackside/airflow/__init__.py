"""The import bridge: unmodified Airflow DAG files find `airflow…` here.

For the parse and task processes, which call `install()` once before they load a DAG file. Nothing happens on import and
nothing outside the process changes; where the real Airflow is installed, the bridge wins only where `install()` ran.
Next door: `names` says which name is what (one table), `finder` makes the modules.
"""

from __future__ import annotations

from trackside.airflow.finder import install, is_installed, preload, uninstall
from trackside.airflow.names import AIRFLOW_VERSION, public_module

__all__ = ["AIRFLOW_VERSION", "install", "is_installed", "preload", "public_module", "uninstall"]
