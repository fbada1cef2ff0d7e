"""Typed, loud readers of environment variables for `settings.py`. A wrong value stops the start with one line."""

from __future__ import annotations

import math
import os
from pathlib import Path

READ: dict[str, tuple[str, str]] = {}
"""Every setting that was asked for: its text and where that came from, for `config.showing`."""


class BadSetting(SystemExit):
    """A setting has a value that cannot be used; the message names it and says what it must be."""


def env_str(name: str, default: str = "") -> str:
    """The variable, or the content of the file that `<name>_FILE` points to, or `default`."""
    if name in os.environ:
        READ[name] = os.environ[name], "environment"
    elif path := os.environ.get(f"{name}_FILE"):
        try:
            READ[name] = Path(path).read_text().strip(), f"file {path}"
        except OSError as e:
            raise BadSetting(f"{name}_FILE={path}: {e.strerror}. Point it at a readable file or set {name}.") from e
    else:
        READ[name] = default, "default"
    return READ[name][0]


def env_int(name: str, default: int, *, low: int | None = None, high: int | None = None) -> int:
    """An integer within [low, high]."""
    raw = env_str(name, str(default))
    try:
        value = int(raw)
    except ValueError as e:
        raise BadSetting(f"{name}={raw!r} is not a whole number.") from e
    if (low is not None and value < low) or (high is not None and value > high):
        raise BadSetting(f"{name}={value} is outside {low}…{high}.")
    return value


def env_float(name: str, default: float, *, low: float = 0.0) -> float:
    """A number of at least `low`."""
    raw = env_str(name, str(default))
    try:
        value = float(raw)
    except ValueError as e:
        raise BadSetting(f"{name}={raw!r} is not a number.") from e
    if not math.isfinite(value):  # nan would pass every comparison
        raise BadSetting(f"{name}={raw!r} is not a number.")
    if value < low:
        raise BadSetting(f"{name}={value} must be at least {low}.")
    return value


def env_bool(name: str, default: bool) -> bool:
    """true/false, yes/no, on/off, 1/0."""
    raw = env_str(name, "true" if default else "false").lower()
    if raw in ("1", "true", "yes", "on"):
        return True
    if raw in ("0", "false", "no", "off", ""):
        return False
    raise BadSetting(f"{name}={raw!r} is not true or false.")


def env_choice(name: str, default: str, choices: tuple[str, ...]) -> str:
    """One of a few words."""
    value = env_str(name, default).strip().lower()
    if value not in choices:
        raise BadSetting(f"{name}={value!r} must be one of {', '.join(choices)}.")
    return value


def env_list(name: str, default: str = "") -> list[str]:
    """Comma-separated words."""
    return [w.strip() for w in env_str(name, default).split(",") if w.strip()]


def env_path(name: str, default: str) -> Path:
    """A path; ~ is the home folder."""
    return Path(env_str(name, default)).expanduser().absolute()
