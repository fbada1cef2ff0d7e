"""`python tools/bill_of_materials.py > bom.json`: what an installation consists of, as a CycloneDX 1.5 bill of materials.

For whoever has to answer which packages are in use and feeds a scanner for known flaws. Made of the pinned
requirements and the lock file of the front end alone, so that it is the same everywhere and needs nothing installed.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;#]+)")
_HASHES = {"sha512": "SHA-512", "sha384": "SHA-384", "sha256": "SHA-256", "sha1": "SHA-1"}


def python_packages(text: str) -> list[dict[str, Any]]:
    """Components of pinned requirements."""
    found = []
    for line in text.splitlines():
        if pinned := _PIN.match(line.strip()):
            name = re.sub(r"[-_.]+", "-", pinned[1]).lower()
            found.append(_component(name, pinned[2], f"pkg:pypi/{name}@{pinned[2]}"))
    return found


def front_end_packages(lock: dict[str, Any]) -> list[dict[str, Any]]:
    """Components of a package-lock.json, with the hashes it holds. What only builds and tests the front end is `excluded`."""
    found = []
    for place, package in sorted(lock["packages"].items()):
        if not place or "version" not in package:  # the project itself, links
            continue
        name = package.get("name") or place.rpartition("node_modules/")[2]
        made = _component(name, package["version"], f"pkg:npm/{name.replace('@', '%40', 1)}@{package['version']}")
        made["scope"] = "excluded" if package.get("dev") else "required"
        algorithm, _, digest = str(package.get("integrity") or "").partition(" ")[0].partition("-")
        if algorithm in _HASHES:
            made["hashes"] = [{"alg": _HASHES[algorithm], "content": base64.b64decode(digest).hex()}]
        found.append(made)
    return list({component["purl"]: component for component in found}.values())


def bill() -> dict[str, Any]:
    """The whole document."""
    lock = json.loads((ROOT / "frontend/package-lock.json").read_text(encoding="utf-8"))
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {"component": {"type": "application", "name": "trackside", "bom-ref": "trackside"}},
        "components": python_packages((ROOT / "requirements.txt").read_text(encoding="utf-8")) + front_end_packages(lock),
    }  # fmt: skip


def _component(name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl, "scope": "required"}


if __name__ == "__main__":
    json.dump(bill(), sys.stdout, indent=2)
    sys.stdout.write("\n")
