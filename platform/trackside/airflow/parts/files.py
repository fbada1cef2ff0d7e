"""`airflow.utils.file`: paths of DAG files, also inside archives."""

from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
from pathlib import Path
from typing import IO, Any

_IN_ARCHIVE = re.compile(rf"((.*\.zip){re.escape(os.sep)})?(.*)")


def correct_maybe_zipped(fileloc: Any) -> Any:
    """The archive a path points into; the path itself if it is no such path."""
    archive = _archive(fileloc)[0] if fileloc else None
    return archive or fileloc


def open_maybe_zipped(fileloc: str, mode: str = "r") -> IO[Any]:
    """A file, also one inside an archive."""
    archive, inside = _archive(fileloc)
    if archive:
        return io.TextIOWrapper(zipfile.ZipFile(archive).open(inside))
    return Path(fileloc).open(mode)


def get_unique_dag_module_name(file_path: str) -> str:
    """The name under which Airflow imports a DAG file."""
    if not isinstance(file_path, str):
        raise ValueError("file_path should be a string to generate unique module name")
    digest = hashlib.sha1(file_path.encode(), usedforsecurity=False).hexdigest()
    return f"unusual_prefix_{digest}_{re.sub(r'[.-]', '_', Path(file_path).stem)}"


def _archive(fileloc: str | Path) -> tuple[str | None, str]:
    found = _IN_ARCHIVE.search(str(fileloc))
    if found and found.group(2) and zipfile.is_zipfile(found.group(2)):
        return found.group(2), found.group(3)
    return None, str(fileloc)
