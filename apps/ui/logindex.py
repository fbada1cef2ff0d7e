"""Where the records of a log are and what they are: a sparse index, so that a page reads windows of a log of any length.

One byte per record (level, source, group marks, where errors begin) and the place of one record in 256 in the file. It is
made when somebody looks, grows with the log by what was added since, and lies beside the log once it is worth keeping.
Numbers of records count from 1, as the pages show them. Next door: `logwindow.py` answers pages and REST from it,
`loglines.py` makes lines of a record.
"""

from __future__ import annotations

import os
import threading
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

import orjson

from apps.runs import logs
from apps.ui import loglines

SOURCES = ("log", "stdout", "stderr", "system")
ERROR = loglines.LEVELS.index("error")
LEVEL_BITS, SOURCE_SHIFT = 3, 2
BEGIN, HEAD, END = 16, 32, 64
"""Flags of a record's byte: an error begins here, a group's head, a group's end."""
MARK_RECORDS, MARK_BYTES = 256, 65_536
"""A mark is set at least this often: a window costs one read of about this size."""
CHUNK = 1_000_000
KEEP_FROM = 50_000
"""Records that must have been added before the index is written beside the log (again)."""
CACHE_BYTES = 64_000_000
"""Of indexes in memory; one of a million records takes about one million."""
MAX_GROUPS = 5_000
"""Groups of a log that fold; those after them stay open."""
_MAGIC = b"trackside log index 1\n"


class Index:
    """What is known of one log so far. `extend` adds what the file got since."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lock = threading.Lock()
        self._codes: dict[Any, int] = {}
        self._clear()

    def _clear(self) -> None:
        self.size = 0
        """Bytes of whole lines that were read."""
        self.classes = bytearray()
        self.groups: list[list[int]] = []
        """[number of the head, of the end or 0, 1 if it holds an error]."""
        self.open: list[int] = []
        self.marks = array("Q", [1])
        """Numbers of records whose places are known."""
        self.places = array("Q", [0])
        self._kept = 0

    @property
    def records(self) -> int:
        """How many records there are."""
        return len(self.classes)

    def extend(self) -> None:
        """Read what was added. A log that became shorter is another log: it is read afresh."""
        with self.lock:
            try:
                f = logs.opened(self.file)
            except FileNotFoundError:
                return
            with f:
                size = os.fstat(f.fileno()).st_size
                if size < self.size:
                    self._clear()
                if not self.size and size > KEEP_FROM * 20:
                    self._load(size)
                for lines in self._added(f):
                    self._take(lines)
            if self.records - self._kept >= KEEP_FROM:
                self._keep()

    def _added(self, f: BinaryIO) -> Iterator[list[bytes]]:
        """Whole lines, chunk by chunk."""
        f.seek(self.size)
        rest = b""
        while data := f.read(CHUNK):
            data = rest + data
            end = data.rfind(b"\n") + 1
            rest = data[end:]
            if end:
                yield data[: end - 1].split(b"\n")

    def _take(self, lines: list[bytes]) -> None:
        at = self.size
        number, mark, place = self.records, self.marks[-1], self.places[-1]
        classes = bytearray()
        failed = bool(self.classes) and self.classes[-1] & LEVEL_BITS == ERROR
        for line, event in zip(lines, parsed(lines), strict=True):
            if line:
                number += 1
                if number - mark >= MARK_RECORDS or at - place >= MARK_BYTES:
                    mark, place = number, at
                    self.marks.append(mark)
                    self.places.append(place)
                code = self._code(event)
                text = event.get("event")
                if type(text) is str and text.startswith("::"):
                    code |= self._group(text, number)
                if code & LEVEL_BITS == ERROR:
                    if not failed or event.get("error_detail") is not None:
                        code |= BEGIN
                    failed = True
                    for k in self.open:
                        self.groups[k][2] = 1
                else:
                    failed = False
                classes.append(code)
            at += len(line) + 1
        self.classes += classes
        self.size = at

    def _code(self, event: dict[str, Any]) -> int:
        key = (event.get("level"), event.get("src"))
        try:
            return self._codes[key]
        except (KeyError, TypeError):
            code = loglines.LEVELS.index(loglines.level_of(event)) | source_of(event) << SOURCE_SHIFT
            if type(key[0]) is str and type(key[1]) is str and len(self._codes) < 1000:
                self._codes[key] = code
            return code

    def _group(self, text: str, number: int) -> int:
        if text.startswith("::group::"):
            if len(self.groups) < MAX_GROUPS:
                self.open.append(len(self.groups))
                self.groups.append([number, 0, 0])
            return HEAD
        if text.startswith("::endgroup::"):
            if self.open:
                self.groups[self.open.pop()][1] = number
            return END
        return 0

    # --- kept beside the log ----------------------------------------------------------------------------------------
    def _keep(self) -> None:
        head = {"size": self.size, "records": self.records, "marks": len(self.marks), "groups": self.groups, "open": self.open}
        body = orjson.dumps(head) + b"\n" + self.marks.tobytes() + self.places.tobytes() + bytes(self.classes)
        target = logs.index_path_of(self.file)
        making = target.with_suffix(f".{os.getpid()}-{threading.get_ident()}.new")
        try:
            making.write_bytes(_MAGIC + body)
            making.replace(target)
        except OSError:  # a full or read-only disk: the index serves this process only
            making.unlink(missing_ok=True)
        self._kept = self.records

    def _load(self, size: int) -> None:
        try:
            data = logs.index_path_of(self.file).read_bytes()
        except OSError:
            return
        if not data.startswith(_MAGIC):
            return
        line, _, body = data[len(_MAGIC) :].partition(b"\n")
        try:
            head = orjson.loads(line)
            width = 8 * head["marks"]
            if head["size"] > size or len(body) != 2 * width + head["records"]:
                return
            self.marks, self.places = array("Q", body[:width]), array("Q", body[width : 2 * width])
            self.classes, self.groups, self.open = bytearray(body[2 * width :]), head["groups"], head["open"]
            self.size, self._kept = head["size"], head["records"]
        except (ValueError, KeyError, TypeError):
            return

    # --- reading ----------------------------------------------------------------------------------------------------
    def lines(self, numbers: Iterable[int]) -> Iterator[bytes]:
        """The records of these numbers (ascending), as they are in the file."""
        block, held = -1, list[bytes]()
        with logs.opened(self.file) as f:
            for number in numbers:
                k = bisect_right(self.marks, number) - 1
                if k != block:
                    block, held = k, self._block(f, k, k + 1)
                yield held[number - self.marks[k]]

    def blocks(self, number: int) -> Iterator[tuple[int, list[bytes], bytes]]:
        """(first number, records, the same as bytes) from the block of a record on, about a megabyte at a time."""
        k, end, size = bisect_right(self.marks, number) - 1, len(self.marks), self.size
        with logs.opened(self.file) as f:
            while k < end:
                after = k + 1
                while after < end and self.places[after] - self.places[k] < CHUNK:
                    after += 1
                stop = self.places[after] if after < end else size
                f.seek(self.places[k])
                data = f.read(stop - self.places[k])
                yield self.marks[k], [line for line in data.split(b"\n") if line], data
                k = after

    def _block(self, f: BinaryIO, k: int, after: int) -> list[bytes]:
        stop = self.places[after] if after < len(self.marks) else self.size
        f.seek(self.places[k])
        return [line for line in f.read(stop - self.places[k]).split(b"\n") if line]


def source_of(event: dict[str, Any]) -> int:
    """Which of SOURCES a record came from; what does not say so came from logging."""
    src = event.get("src")
    return SOURCES.index(src) if type(src) is str and src in SOURCES else 0


def parsed(lines: list[bytes]) -> list[dict[str, Any]]:
    """The records as the log store reads them; empty lines give empty records. All in one go, unless one is broken."""
    try:
        events = orjson.loads(b"[" + b",".join(line or b"{}" for line in lines) + b"]")
        if len(events) == len(lines) and all(type(e) is dict for e in events):
            return events
    except orjson.JSONDecodeError:
        pass
    return [logs.parse(line) if line else {} for line in lines]


_cache: OrderedDict[str, Index] = OrderedDict()
_cache_lock = threading.Lock()


def of(try_id: UUID | str) -> Index:
    """The index of a try's log, up to what is stored now."""
    file = logs.path_of(try_id)
    with _cache_lock:
        index = _cache.get(str(file)) or Index(file)
        _cache[str(file)] = index
        _cache.move_to_end(str(file))
        used = sum(i.records for i in _cache.values())
        while used > CACHE_BYTES and len(_cache) > 1:
            used -= _cache.popitem(last=False)[1].records
    index.extend()
    return index
