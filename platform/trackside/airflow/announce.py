"""Run as a child (`python -m trackside.airflow.announce`): what installed provider packages announce, as JSON on stdout.

For the server, which shows packages and their types of connections but runs none of their code itself. Older packages keep
the words of a form in their hook; those hooks are imported here. What goes wrong with one package leaves out that package.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any

_PLAIN = ("label", "description", "schema")


def collect() -> dict[str, Any]:
    """{"packages": [{name, version, description, documentation_url}], "types": [{id, name, package, behaviour, fields}]}."""
    from trackside.sdk import installed

    packages = [
        {
            "name": one.name,
            "version": one.version,
            "description": str(one.info.get("description") or one.info.get("name") or ""),
            "documentation_url": _documentation(one.name),
        }
        for one in installed.providers().values()
    ]
    types = []
    for provider, entry in installed.announced("connection-types"):
        try:
            types.append(_type(provider.name, entry))
        except Exception as error:  # code of a package
            sys.stderr.write(f"{provider.name}: {entry!r}: {type(error).__name__}: {error}\n")
    return {"packages": packages, "types": types}


def _documentation(package: str) -> str | None:
    """Where a package says its documentation is."""
    try:
        addresses = metadata(package).get_all("Project-URL") or []
    except PackageNotFoundError:
        return None
    parts = (address.partition(",") for address in addresses)
    return next((url.strip() for label, _, url in parts if label.strip().lower() == "documentation"), None)


def _type(package: str, entry: dict[str, Any]) -> dict[str, Any]:
    behaviour = entry.get("ui-field-behaviour")
    if behaviour is None and "conn-fields" not in entry:
        behaviour = _asked(entry["hook-class-name"])
    told = entry.get("conn-fields") or {}
    fields = {str(key): {word: about[word] for word in _PLAIN if word in about} for key, about in told.items()}
    return {
        "id": str(entry["connection-type"]),
        "name": str(entry.get("hook-name") or entry["connection-type"]),
        "package": package,
        "behaviour": behaviour or {},
        "fields": fields,
    }


def _asked(hook: str) -> dict[str, Any]:
    """What a hook class says about the form (`get_ui_field_behaviour`); {} if it cannot be imported here."""
    from trackside.sdk import installed

    try:
        said = installed.load(hook).get_ui_field_behaviour()
        words = {key.replace("_", "-"): value for key, value in said.items()}
        json.dumps(words)
    except Exception as error:
        sys.stderr.write(f"{hook}: {type(error).__name__}: {error}\n")
        return {}
    return words


def main() -> None:
    """Print the answer on the stdout we were given; whatever packages print goes to stderr."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    from trackside.airflow import install

    install()
    with answer:
        json.dump(collect(), answer)


if __name__ == "__main__":
    main()
