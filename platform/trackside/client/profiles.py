"""Which server, with which token: options, environment, or a named profile of a file.

The file is `~/.config/trackside/profiles.toml` (TRACKSIDE_PROFILES names another): `[name]` with `server` and `token`, `token_file`,
or `username` (the password then comes from TRACKSIDE_PASSWORD).
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path


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
    path = Path(os.environ.get("TRACKSIDE_PROFILES") or Path.home() / ".config" / "trackside" / "profiles.toml")
    try:
        known = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise NoProfile(f"{path} cannot be read: {error}") from error
    entry = known.get(named or "default")
    if entry is None:
        if named:
            raise NoProfile(f"there is no profile {named!r} in {path}; it has {', '.join(known) or 'none'}")
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("server"), str):
        raise NoProfile(f"{path}: the profile {named or 'default'} needs server = \"https://…\"")
    token = secrets["token"] or entry.get("token")
    if token is None and (file := entry.get("token_file")):
        token = Path(file).expanduser().read_text(encoding="utf-8").strip()
    return Profile(entry["server"], token, secrets["username"] or entry.get("username"), os.environ.get("TRACKSIDE_PASSWORD"))
