"""Keys that Trackside makes once for itself and keeps in `<home>/keys`, readable by the owner only."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path


def secret_text(home: Path, name: str, *, fernet: bool = False) -> str:
    """The secret called `name`, made on first use.

    Two processes that start at once get the same one: the file is written completely under another name and then
    linked into place, which only the first can do. `fernet=True` makes a key in Fernet's form (32 bytes, URL-safe base64).
    """
    path = home / "keys" / name
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = base64.urlsafe_b64encode(os.urandom(32)).decode() if fernet else secrets.token_urlsafe(48)
    mine = path.with_name(f".{name}.{os.getpid()}.{secrets.token_hex(4)}")
    fd = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
    try:
        os.link(mine, path)
    except FileExistsError:
        pass
    finally:
        mine.unlink()
    return path.read_text().strip()
