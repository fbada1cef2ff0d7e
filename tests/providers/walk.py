"""Run with the interpreter that has the packages: imports every module of the provider packages named, and says what failed.

Prints JSON: {"count": modules, "failed": {module: "ErrorType: message"}}. Modules that only serve tests of the packages count too.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
import warnings

from trackside.airflow import install


def main(packages: list[str]) -> None:
    warnings.simplefilter("ignore")
    install()
    failed: dict[str, str] = {}
    names: list[str] = []
    for package in packages:
        root = importlib.import_module(f"airflow.providers.{package}")
        names += [m.name for m in pkgutil.walk_packages(root.__path__, f"{root.__name__}.", onerror=lambda name: None)]
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"
    print(json.dumps({"count": len(names), "failed": failed}))


main(sys.argv[1:])
