"""Which server, with which token: options, environment, or a named profile of a file.

The file is `~/.config/trackside/profiles.toml` (TRACKSIDE_PROFILES names another): `[name]` with `server` and `token`, `token_file`,
or `username` (the password then comes from TRACKSIDE_PASSWORD); a line `use = "name"` on top says which one counts when none is named.
`trackside profiles` writes it, for its owner's eyes only.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class NoProfile(ValueError):
    """There is no such server or profile; the message says what to write where."""


@dataclass(slots=True)
class Profile:
    """How to reach a server."""

    server: str
    token: str | None = None
    username: str | None = None
    password: str | None = None


def find(server: str | None = None, profile: str | None = None) -> Profile | None:
    """What was named, else TRACKSIDE_SERVER, else TRACKSIDE_PROFILE, else the profile `default`; None if nothing was.

    Raises NoProfile.
    """
    server = server or (None if profile else os.environ.get("TRACKSIDE_SERVER"))
    secrets = {"token": os.environ.get("TRACKSIDE_TOKEN"), "username": os.environ.get("TRACKSIDE_USERNAME")}
    if server:
        return Profile(server, secrets["token"], secrets["username"], os.environ.get("TRACKSIDE_PASSWORD"))
    named = profile or os.environ.get("TRACKSIDE_PROFILE")
    path = where()
    known = read()
    named = named or used(known)
    entry = known.get(named or "default")
    if entry is None:
        if named:
            names = ", ".join(name for name, one in known.items() if isinstance(one, dict))
            raise NoProfile(f"there is no profile {named!r} in {path}; it has {names or 'none'}")
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("server"), str):
        raise NoProfile(f"{path}: the profile {named or 'default'} needs server = \"https://…\"")
    token = secrets["token"] or entry.get("token")
    if token is None and (file := entry.get("token_file")):
        token = Path(file).expanduser().read_text(encoding="utf-8").strip()
    return Profile(entry["server"], token, secrets["username"] or entry.get("username"), os.environ.get("TRACKSIDE_PASSWORD"))


# --- the file ---------------------------------------------------------------------------------------------------------
NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")
USE = "use"


def where() -> Path:
    """The file."""
    return Path(os.environ.get("TRACKSIDE_PROFILES") or Path.home() / ".config" / "trackside" / "profiles.toml")


def read() -> dict[str, Any]:
    """What it says; empty if there is none. Raises NoProfile when it cannot be read."""
    path = where()
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise NoProfile(f"{path} cannot be read: {error}") from error


def used(known: dict[str, Any]) -> str | None:
    """Which one counts when none is named; None: that called `default`, if it is there."""
    found = known.get(USE)
    return found if isinstance(found, str) else None


def store(name: str, entry: dict[str, str]) -> None:
    """Write a profile, in the place of one of that name. Other lines of the file stay as they are. Raises NoProfile."""
    if not NAME.fullmatch(name) or name == USE:
        raise NoProfile(f"{name!r} is no name for a profile: use letters, digits, - and _, and not the word {USE!r}")
    read()
    block = f"[{name}]\n" + "".join(f"{key} = {_text(value)}\n" for key, value in entry.items())
    kept = [part for part in _parts() if part[0] != name]
    _write("\n".join([*(text.rstrip("\n") + "\n" for _, text in kept if text.strip()), block]))


def remove(name: str) -> None:
    """Take a profile out. Raises NoProfile if there is none of that name."""
    known = _named(name)
    kept = "".join(text for of, text in _parts() if of != name)
    _write(_with_use(kept, None) if used(known) == name else kept)


def use(name: str) -> None:
    """Let this profile count when none is named. Raises NoProfile if there is none of that name."""
    _named(name)
    _write(_with_use("".join(text for _, text in _parts()), name))


def _named(name: str) -> dict[str, Any]:
    known = read()
    if not isinstance(known.get(name), dict):
        raise NoProfile(f"there is no profile {name!r} in {where()}; `trackside profiles list` names them all")
    return known


def _parts() -> list[tuple[str | None, str]]:
    """The file cut before each table: (its name, None for what is above the first; its lines)."""
    path = where()
    parts: list[tuple[str | None, str]] = [(None, "")]
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else ():
        if (head := re.match(r"\s*\[\s*[\"']?([\w-]+)[\"']?\s*\]", line)) is not None:
            parts.append((head[1], ""))
        parts[-1] = (parts[-1][0], parts[-1][1] + line)
    return parts


def _with_use(text: str, name: str | None) -> str:
    top, table, rest = text.partition("[")
    top = "".join(line for line in top.splitlines(keepends=True) if not re.match(rf"\s*{USE}\s*=", line))
    return (f"{USE} = {_text(name)}\n" if name else "") + top + table + rest


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _write(text: str) -> None:
    """The whole file at once, readable by its owner only: it may hold tokens."""
    path = where()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".profiles-")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
