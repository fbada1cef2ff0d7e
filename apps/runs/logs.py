"""The log store: one file of JSON lines per try (`core.messages.LOG_FORMAT`), written by offset, read by offset.

A file is named after its try's UUID, so no name a user chose is ever part of a path. Chunks are idempotent: the same
bytes at the same offset twice change nothing. Deleting a run leaves its files to `prune`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

import orjson
from django.conf import settings

_listeners: list[Callable[[UUID, int], None]] = []


def path_of(try_id: UUID | str) -> Path:
    """Where the log of a try is kept; the file may not exist yet."""
    name = str(UUID(str(try_id)))
    return Path(settings.LOGS_FOLDER) / name[:2] / f"{name}.jsonl"


def path(try_row: Any) -> Path:
    """Where the log of a Try row is kept."""
    return path_of(try_row.id)


def index_path_of(file: Path) -> Path:
    """Where pages keep the index of a log that is large enough to need one; it goes with the log."""
    return file.with_suffix(".index")


def subscribe(callback: Callable[[UUID, int], None]) -> None:
    """Call `callback(try id, new size)` whenever this process stored a chunk. It must return quickly."""
    _listeners.append(callback)


def append(try_id: UUID, offset: int, data: bytes) -> int:
    """Store bytes at an offset; the size of the log afterwards.

    A chunk beyond the end (an earlier one is missing) is not stored: the answer then is less than its offset, and the
    sender repeats from there.
    """
    target = path_of(try_id)
    try:
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        if not target.parent.is_dir():
            target.parent.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # with `parents` the mode is that of the last one only
            target.parent.mkdir(exist_ok=True, mode=0o700)
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        size = os.fstat(fd).st_size
        if offset > size:
            return size
        if offset + len(data) > size:
            size += os.pwrite(fd, data[size - offset :], size)  # less than all of it on a full disk: the sender repeats the rest
    finally:
        os.close(fd)
    for listener in _listeners:
        listener(try_id, size)
    return size


def opened(file: Path) -> BinaryIO:
    """A log to read; FileNotFoundError also where somebody put a link, which would lead anywhere."""
    try:
        return os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
    except OSError as e:
        if e.errno == errno.ELOOP:
            raise FileNotFoundError(errno.ENOENT, "this log is a link and is not followed", str(file)) from e
        raise


def size_of(try_id: UUID | str) -> int:
    """Bytes stored so far."""
    try:
        return path_of(try_id).stat().st_size
    except FileNotFoundError:
        return 0


def read_bytes(try_id: UUID | str, offset: int = 0, limit: int | None = None) -> bytes:
    """Raw bytes from an offset, cut after the last complete line; a line that is longer than the limit is whole."""
    try:
        with opened(path_of(try_id)) as f:
            f.seek(offset)
            data = f.read(limit if limit is not None else -1)
            if limit is not None and len(data) == limit and b"\n" not in data:
                data += f.readline()
    except FileNotFoundError:
        return b""
    return data[: data.rfind(b"\n") + 1]


def read(try_row: Any, offset: int = 0, limit: int | None = None) -> tuple[list[dict[str, Any]], int, bool]:
    """(events, next offset, complete): events from a byte offset, at most about `limit` bytes of them.

    complete: the try ended and everything its runner produced has been read.
    """
    data = read_bytes(try_row.id, offset, limit)
    next_offset = offset + len(data)
    complete = bool(try_row.log_ended) and next_offset >= size_of(try_row.id)
    return [parse(line) for line in data.split(b"\n") if line], next_offset, complete


def parse(line: bytes) -> dict[str, Any]:
    """One line of the file as a record; what is no record of ours is its text."""
    try:
        event = orjson.loads(line)
        if isinstance(event, dict):
            return event
    except orjson.JSONDecodeError:
        pass
    return {"level": "info", "logger": "raw", "event": line.decode("utf-8", "replace"), "src": "stdout"}


def delete(try_ids: list[UUID]) -> None:
    """Remove the files of these tries."""
    for try_id in try_ids:
        file = path_of(try_id)
        file.unlink(missing_ok=True)
        index_path_of(file).unlink(missing_ok=True)
