"""The DAG's files from the server's archive, for a runner that shares no file system with it (`__main__`, in a pod).

Kept by the hash of the archive below TRACKSIDE_FILES_CACHE: in a volume of the node's (hostPath), pods share what they
have fetched. What lies there was checked against its hash before it was moved into place, and is never changed.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackside.core.messages import StartOrder

if TYPE_CHECKING:
    import tarfile

PATIENCE_S = 30.0
"""A new version's archive follows its parse; this long it is waited for."""
OLD_S = 7 * 86_400.0

Ask = Callable[[str, Any], Awaitable[tuple[int, Any]]]
"""POST to a door of the try: (verb, body) → status and answer."""


class NotShipped(RuntimeError):
    """The files cannot be had; the message says what to do."""


async def fetch(order: StartOrder, ask: Ask, cache: Path) -> str:
    """Where the DAG's file lies now. Raises NotShipped."""
    folder = cache / order.files_hash if order.files_hash else None
    if folder is None or not folder.is_dir():
        folder = await _download(ask, cache)
    relative = order.relative_fileloc
    path = folder / relative
    if not _real(path).is_file():
        raise NotShipped(f"The archive of the DAG's files has no {relative}: was it moved a moment ago? Run the task again.")
    return str(path)


async def _download(ask: Ask, cache: Path) -> Path:
    give_up = time.monotonic() + PATIENCE_S
    while True:
        status, answer = await ask("/files", {})
        if status == 200:
            return await asyncio.to_thread(_unpack, str(answer["hash"]), base64.b64decode(answer["content"]), cache)
        if status != 404 or time.monotonic() > give_up:
            detail = answer.get("detail") if isinstance(answer, dict) else answer
            raise NotShipped(f"The server did not give the DAG's files ({status}): {detail}")
        await asyncio.sleep(0.5)


def _unpack(digest: str, content: bytes, cache: Path) -> Path:
    import tarfile  # beside the first imports of the task

    if hashlib.sha256(content).hexdigest() != digest:
        raise NotShipped("The archive of the DAG's files was damaged on its way.")
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / digest
    work = Path(tempfile.mkdtemp(prefix=".new-", dir=cache))
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as tar:
            for member in tar:
                _write(work / "files", member, tar)
        try:
            (work / "files").rename(target)
        except OSError:  # another pod was faster
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    _forget_old(cache, target)
    return target


def _write(folder: Path, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
    """One plain file below the folder. (The filters of tarfile are younger than the Python of many images.)"""
    target = folder / member.name
    source = tar.extractfile(member) if member.isreg() else None
    if source is None or ".." in Path(member.name).parts or Path(member.name).is_absolute():
        raise NotShipped(f"The archive of the DAG's files holds {member.name!r}, which is no plain file.")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read())
    target.chmod(0o755 if member.mode & 0o100 else 0o644)


def _forget_old(cache: Path, kept: Path) -> None:
    for folder in cache.iterdir():
        try:
            if folder != kept and time.time() - folder.stat().st_mtime > OLD_S:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue


def _real(path: Path) -> Path:
    text = str(path)
    return Path(text[: text.index(".zip/") + 4]) if ".zip/" in text else path


def cache_folder() -> Path:
    """TRACKSIDE_FILES_CACHE, or a folder of this process's own."""
    return Path(os.environ.get("TRACKSIDE_FILES_CACHE") or tempfile.mkdtemp(prefix="trackside-files-"))


def is_wanted() -> bool:
    """Whether this runner was told to fetch files (TRACKSIDE_DAG_FILES)."""
    return os.environ.get("TRACKSIDE_DAG_FILES") == "shipped"
