"""The log of a try on its way to the server: lines in, chunks with offsets out.

`TryLog` turns output and records into the JSON lines of `core.messages.LOG_FORMAT`, masked, and keeps them until the server
has them; `LogShipper` sends the news of all tries together. Nothing is written to disk; a try whose log cannot be sent fast
enough is not read any further (its process waits in `write`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from trackside.core.masking import Masker
from trackside.runner.http import AnswerLost, ConnectFailed, Connection
from trackside.runner.jsonio import dumps, loads

MAX_LINE = 1 << 20
"""Longer lines are split (bytes)."""
MAX_UNSENT = 4 << 20
"""A try with more unsent log than this is not read (bytes)."""
MAX_UNSENT_TOTAL = 64 << 20
"""All tries of the worker together (bytes)."""
CHUNK = 512 << 10
"""Of one try in one request (bytes)."""
REQUEST = 4 << 20
BATCH_S = 0.1
"""News wait at most this long."""
TIMEOUT_S = 15.0
_STREAMS = {"stdout": ("info", "task.stdout"), "stderr": ("error", "task.stderr")}

log = logging.getLogger(__name__)


def moment(seconds: float) -> str:
    """Seconds since the epoch in the log's notation."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class TryLog:
    """Lines of one try that the server does not have yet."""

    def __init__(self, try_id: str, token: str, news: Callable[[TryLog], None], size_known: bool = True) -> None:
        self.try_id = try_id
        self.masker = Masker()
        self.token = token
        self.reopen(token)
        self.unsent = bytearray()
        self.offset = 0
        """Position of `unsent` in the log, which is how much the server has."""
        self.size_known = size_known
        """False: a resumed try; the first chunk is empty and its answer tells where the server's copy ends."""
        self.ended = False
        self.end_accepted = False
        self.on_room: Callable[[], None] = lambda: None
        self._news = news
        self._partial = {"stdout": bytearray(), "stderr": bytearray()}

    def reopen(self, token: str) -> None:
        """The try goes on under a new token."""
        self.token = token
        self.masker.add(token.rpartition(".")[2], plain=True)
        self.ended = self.end_accepted = False

    @property
    def size(self) -> int:
        """Bytes of log so far."""
        return self.offset + len(self.unsent)

    def system(self, text: str, level: str = "info") -> None:
        """A line in the runner's own words."""
        self._line({"t": moment(time.time()), "level": level, "logger": "trackside.runner", "event": text, "src": "system"})

    def record(self, line: bytes) -> None:
        """A record of the task's logging, as JSON."""
        text = line.decode("utf-8", "replace")
        if len(line) <= MAX_LINE and not self.masker.needs_work(text):
            self._append(line)
            return
        try:
            record = loads(text)
        except ValueError:
            return
        if not isinstance(record, dict):
            return
        if len(line) > MAX_LINE:
            record = {k: v[: MAX_LINE // 8] + " … (cut)" if isinstance(v, str) and len(v) > MAX_LINE // 8 else v
                      for k, v in record.items() if k != "error_detail" or len(line) <= 2 * MAX_LINE}  # fmt: skip
        self._append(dumps(self.masker.hide_in(record)))

    def output(self, stream: str, data: bytes) -> None:
        """What the task wrote to stdout or stderr, in whatever pieces it arrives."""
        partial = self._partial[stream]
        partial += data
        end = partial.rfind(b"\n")
        if end >= 0:
            lines = bytes(partial[:end]).split(b"\n")
            del partial[: end + 1]
            now = moment(time.time())
            for line in lines:
                self._raw(stream, line, now)
        if len(partial) > MAX_LINE:
            self._split(stream, partial)

    def end(self) -> None:
        """No more lines will come; unfinished ones count as lines."""
        for stream, partial in self._partial.items():
            if partial:
                self._raw(stream, bytes(partial), moment(time.time()))
                partial.clear()
        self.ended = True
        self._news(self)

    def accepted(self, size: int, end: bool) -> None:
        """The server has the first `size` bytes."""
        if not self.size_known:
            self.size_known, self.offset = True, size
            return
        if size > self.offset:
            gone = min(size - self.offset, len(self.unsent))
            del self.unsent[:gone]
            self.offset += gone
        self.end_accepted = end and not self.unsent
        self.on_room()

    def discard(self) -> None:
        """The server does not want this log (any more)."""
        self.size_known = True
        self.accepted(self.size, self.ended)

    def chunk(self) -> dict[str, Any]:
        """The next LogChunk: whole lines, at least one."""
        data = self.unsent
        cut = len(data) if self.size_known else 0
        if cut > CHUNK:
            cut = data.rfind(b"\n", 0, CHUNK) + 1 or data.find(b"\n") + 1
        return {
            "try_id": self.try_id,
            "token": self.token,
            "offset": self.offset,
            "text": bytes(data[:cut]).decode("utf-8", "replace"),
            "end": self.ended and self.size_known and cut == len(data),
        }

    def _split(self, stream: str, partial: bytearray) -> None:
        """Emit the front of an endless line; a secret may straddle the cut, so the tail that could begin one stays."""
        text = self.masker.hide(partial.decode("utf-8", "replace"))
        keep = max(self.masker.longest - 1, 4)
        while len(text) > MAX_LINE // 2 + keep:
            self._raw(stream, text[: MAX_LINE // 2].encode(), moment(time.time()))
            text = text[MAX_LINE // 2 :]
        partial[:] = text.encode()

    def _raw(self, stream: str, line: bytes, now: str) -> None:
        level, logger = _STREAMS[stream]
        text = line.decode("utf-8", "replace")
        if text.endswith("\r"):
            text = text[:-1]
        self._line({"t": now, "level": level, "logger": logger, "event": text, "src": stream})

    def _line(self, record: dict[str, Any]) -> None:
        text = record["event"]
        if len(text) > MAX_LINE:
            for start in range(0, len(text), MAX_LINE // 2):
                self._line({**record, "event": self.masker.hide(text)[start : start + MAX_LINE // 2]})
            return
        record["event"] = self.masker.hide(text)
        self._append(dumps(record))

    def _append(self, line: bytes) -> None:
        self.unsent += line
        self.unsent += b"\n"
        self._news(self)


class LogShipper:
    """Sends what is new in all logs: one request at a time, at most ten a second while it is quiet."""

    def __init__(self, post: Callable[[list[dict[str, Any]]], Any], batch_s: float = BATCH_S) -> None:
        self._post = post
        self._batch_s = batch_s
        self._news: dict[str, TryLog] = {}
        """By try id, in the order in which they take turns."""
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def open(self, try_id: str, token: str, resumed: bool = False) -> TryLog:
        """A log for a try that begins or is resumed (same try, same log: it goes on where the server's copy ends)."""
        if (waiting := self._news.get(try_id)) is not None:
            waiting.reopen(token)
            return waiting
        return TryLog(try_id, token, self._has_news, size_known=not resumed)

    def unsent(self) -> int:
        """Bytes waiting, all tries."""
        return sum(len(waiting.unsent) for waiting in self._news.values())

    def is_full(self, one: TryLog) -> bool:
        """Whether the task behind this log should wait."""
        return len(one.unsent) > MAX_UNSENT or (len(one.unsent) > CHUNK and self.unsent() > MAX_UNSENT_TOTAL)

    async def drained(self, timeout_s: float) -> bool:
        """Wait until the server has everything."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Until cancelled."""
        pause = 0.0
        while True:
            await self._wake.wait()
            await asyncio.sleep(max(self._batch_s, pause))
            chunks = self._collect()
            pause = 0.0 if await self._send(chunks) else min(max(pause * 2, 0.2), 5.0)
            if not self._news:
                self._wake.clear()
                self._idle.set()

    def _has_news(self, one: TryLog) -> None:
        self._news[one.try_id] = one
        self._wake.set()
        self._idle.clear()

    def _collect(self) -> list[tuple[TryLog, dict[str, Any]]]:
        chunks: list[tuple[TryLog, dict[str, Any]]] = []
        size = 0
        for key, one in list(self._news.items()):
            chunk = one.chunk()
            chunks.append((one, chunk))
            size += len(chunk["text"])
            # Round robin: who was served goes to the end.
            self._news[key] = self._news.pop(key)
            if size > REQUEST:
                break
        return chunks

    async def _send(self, chunks: list[tuple[TryLog, dict[str, Any]]]) -> bool:
        try:
            settled = await self._post([chunk for _, chunk in chunks])
        except (AnswerLost, ConnectFailed) as error:
            log.debug("logs not sent: %s", error)
            return False
        by_try = {item.get("try_id"): item for item in settled}
        moved = False
        for one, chunk in chunks:
            answer = by_try.get(one.try_id)
            if answer is None:
                continue
            if answer.get("status", 200) >= 300 and answer.get("size") is None:
                one.discard()
            else:
                before = one.offset, one.size_known
                one.accepted(int(answer.get("size") or 0), chunk["end"])
                moved = moved or (one.offset, one.size_known) != before
            moved = moved or one.end_accepted
            if one.end_accepted if one.ended else not one.unsent:
                self._news.pop(one.try_id, None)
        return moved


def poster(connection: Connection, worker_id: str) -> Callable[[list[dict[str, Any]]], Any]:
    """The way of a worker's logs: `POST /logs`."""

    async def post(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        status, answer = await connection.post("/logs", {"worker_id": worker_id, "chunks": chunks}, TIMEOUT_S)
        if status != 200:
            raise AnswerLost(f"the server answered {status}: {answer}")
        return answer.get("settled", [])

    return post
