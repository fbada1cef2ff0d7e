"""What is refused around a parse: archives that would fill the memory, and text that no database can hold.

For `child`; runs in the file's own process.
"""

from __future__ import annotations

import hashlib
import io
import tokenize
import zipfile
from pathlib import Path
from typing import Any

MAX_UNPACKED = 256 * 1024 * 1024
"""Bytes all files of an archive may have together."""
MAX_RATIO = 100
"""Unpacked size per packed size, for archives that unpack to more than FREE_BYTES."""
FREE_BYTES = 10 * 1024 * 1024
MAX_SOURCE = 2 * 1024 * 1024
"""Characters of source text kept for people."""
_BAD = "\N{REPLACEMENT CHARACTER}"


class Refused(Exception):
    """The message says what is wrong with the file."""


def content_hash(path: str) -> str:
    """SHA-256 of the file. Raises Refused if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        raise Refused(f"The file cannot be read: {e.strerror or e}. Check its permissions and links.") from e


def check_zip(path: str) -> None:
    """Raises Refused for a .zip that is broken or unpacks to too much; other files pass."""
    if not path.endswith(".zip"):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as e:
        raise Refused(f"The zip file cannot be opened: {e}. Pack it again.") from e
    unpacked = sum(m.file_size for m in members)
    packed = max(1, sum(m.compress_size for m in members))
    if unpacked > MAX_UNPACKED or (unpacked > FREE_BYTES and unpacked / packed > MAX_RATIO):
        raise Refused(
            f"The zip file unpacks to {unpacked / 1e6:,.0f} MB from {packed / 1e6:,.1f} MB, which is refused. "
            "Put code into it, not data."
        )


class Sources:
    """Texts of the file as they were before it ran."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._plain = None if path.endswith(".zip") else _decode(Path(path).read_bytes())

    def text(self, fileloc: str) -> str:
        """Source of `fileloc`: the file itself, or a member of the archive (`x.zip/dags.py`)."""
        if self._plain is not None:
            return self._plain
        member = fileloc.removeprefix(self.path).lstrip("/")
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(member) as file:
                return _decode(file.read(MAX_SOURCE))
        except (OSError, KeyError, zipfile.BadZipFile):
            return ""


def _decode(data: bytes) -> str:
    """Source text, by its coding line; newlines as they are, except that \\r\\n becomes \\n."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError):
        text = data.decode("utf-8", "replace")
    if len(text) > MAX_SOURCE:
        text = text[:MAX_SOURCE] + "\n# … truncated\n"
    return storable_text(text.replace("\r\n", "\n"))


def storable_text(text: str) -> str:
    """`text` without what PostgreSQL refuses: NUL and lone surrogates become replacement characters."""
    return text.replace("\0", _BAD).encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def check_storable(value: Any, where: str = "") -> None:
    """Raises Refused naming the place of a NUL or a lone surrogate in any text or key of a spec."""
    if isinstance(value, str):
        if "\0" in value:
            raise Refused(f"{where or 'a text'} contains a NUL character, which cannot be stored. Remove it.")
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise Refused(f"{where or 'a text'} contains half a surrogate pair, which cannot be stored.") from None
    elif isinstance(value, dict):
        for key, item in value.items():
            if isinstance(key, str):
                check_storable(key, f"the key {key!a} of {where or 'the DAG'}")
            check_storable(item, f"{where}.{key}" if where else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            check_storable(item, f"{where}[{index}]")
