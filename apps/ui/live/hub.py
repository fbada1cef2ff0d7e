"""The live hub: one per web process. Reads new event rows once, serialises once per topic, fans out to its sockets.

It sleeps until the wake listener hears a NOTIFY (or its safety poll, a few seconds), then reads from its cursor
`(xid, id)` up to the oldest transaction of this database that still runs: rows above that may still be joined by rows with
lower ids. It reads only while somebody listens.

Next door: `consumer.py` is one socket, `topics.py` names what can be heard, `cursor.py` is the client's side.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Protocol

import orjson
import psycopg

from apps.runs import wake
from apps.ui.live import topics
from apps.ui.live.cursor import Cursor

logger = logging.getLogger(__name__)

TICK = 0.04
"""Seconds between two reads while events keep coming: bounds CPU, and what arrives together is sent together."""
SLOWEST_TICK = 0.5
"""While all that is new waits for an older transaction, or the database does not answer, ticks slow down to this."""
BATCH = 2000
"""Event rows per read."""
REPLAY_LIMIT = 2000
"""A page that is further behind than this many events loads afresh: cheaper for both sides."""
FRAME_BYTES = 60_000
"""Frames stay below this (64 KiB is the promise to proxies and clients)."""
TIS_PER_PIECE = 500
"""An event about more task instances is told in pieces."""

_COLUMNS = """e.xid::text::bigint, e.id, e.kind, e.verb, e.dag_id, e.run_pk, e.run_id, e.payload->>'state',
coalesce(e.payload->'tis', '[]')::text, (extract(epoch FROM e.at) * 1000)::bigint"""
# xmin, but not held back by a transaction that is known to be another database's: it cannot write events here
_OLDEST = """coalesce((
  SELECT x FROM pg_snapshot_xip(pg_current_snapshot()) x
  WHERE NOT EXISTS (SELECT 1 FROM pg_stat_activity a WHERE a.backend_xid = x::xid AND a.datname <> current_database())
  ORDER BY x LIMIT 1), pg_snapshot_xmax(pg_current_snapshot()))"""
_READ = f"""
SELECT {_COLUMNS} FROM runs_event e
WHERE (e.xid, e.id) > (%s::text::xid8, %s) AND e.xid < {_OLDEST}
ORDER BY e.xid, e.id LIMIT {BATCH}
"""  # noqa: S608
_ABOVE = "SELECT EXISTS (SELECT 1 FROM runs_event e WHERE (e.xid, e.id) > (%s::text::xid8, %s))"
_HORIZON = f"SELECT ({_OLDEST})::text"
# what a page missed: committed below the hub's position, unseen by the page's snapshot
_REPLAY = f"""
SELECT {_COLUMNS} FROM runs_event e
WHERE e.xid >= %(low)s::text::xid8 AND (e.xid, e.id) <= (%(xid)s::text::xid8, %(id)s)
  AND NOT pg_visible_in_snapshot(e.xid, %(seen)s::pg_snapshot)
  AND (%(dag)s::text IS NULL OR e.dag_id = %(dag)s) AND (%(run)s::bigint IS NULL OR e.run_pk = %(run)s)
ORDER BY e.xid, e.id LIMIT {REPLAY_LIMIT + 1}
"""  # noqa: S608


class Listener(Protocol):
    """What the hub needs of a socket."""

    def deliver(self, frame: str) -> None:
        """Take a ready frame, or note an overflow; never blocks."""


class TooFarBehind(Exception):
    """The page must load afresh: more happened than is worth telling one by one."""


class Hub:
    """All sockets of this process by topic, and the one reader that feeds them."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._sockets: dict[str, set[Listener]] = {}
        self._position: tuple[int, int] | None = None
        self._lock = asyncio.Lock()
        self._news = asyncio.Event()
        self._wake: wake.Listener | None = None
        self._reader: asyncio.Task[None] | None = None
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self.frames_sent = 0
        self.events_read = 0

    async def subscribe(self, socket: Listener, topic: topics.Topic, cursor: Cursor | None, run_pk: int | None = None) -> list[str]:
        """From now on `socket` hears `topic`; the frames it missed since `cursor`. Raises TooFarBehind.

        Under the reader's lock, so that no event falls between what is replayed and what is delivered. `run_pk`: the run
        of a task topic, to read less.
        """
        async with self._lock:
            await self._awake()
            assert self._position is not None
            missed = await self._replay(topic, cursor, run_pk) if cursor else []
            self._sockets.setdefault(topic.key, set()).add(socket)
        return missed

    def unsubscribe(self, socket: Listener, keys: Iterable[str]) -> None:
        """Stop delivering these topics to the socket."""
        for key in keys:
            listeners = self._sockets.get(key)
            if listeners is not None:
                listeners.discard(socket)
                if not listeners:
                    del self._sockets[key]

    async def close(self) -> None:
        """Stop reading and listening (end of the process, end of a test)."""
        if self._wake is not None:
            self._wake.stop()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        if self._connection is not None:
            await self._connection.close()

    # --- reading ----------------------------------------------------------------------------------------------------
    async def _awake(self) -> None:
        """Start the reader and the listener; after a sleep begin at the present horizon, pages replay what came before."""
        if self._reader is None or self._reader.done():
            self._position = None
            self._reader = self.loop.create_task(self._read_forever(), name="live-hub")
        if self._wake is None or not self._wake.is_alive():
            self._wake = wake.Listener({wake.LIVE: [self._hear]}, name="live-listener")
            self._wake.start()
        if self._position is None:
            row = await (await self._execute(_HORIZON)).fetchone()
            assert row is not None
            self._position = (int(row[0]) - 1, 2**62)  # everything below the horizon is behind us

    def _hear(self) -> None:
        """Called from the listener's thread."""
        try:
            self.loop.call_soon_threadsafe(self._news.set)
        except RuntimeError:  # the loop is gone; so are its sockets
            if self._wake is not None:
                self._wake.stop()

    async def _read_forever(self) -> None:
        pause = TICK
        while True:
            try:
                async with asyncio.timeout(wake.SAFETY_POLL):  # wait_for of Python 3.11 can lose a cancellation
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()
            before = self.events_read
            try:
                held_back = await self.read()
            except psycopg.Error as e:
                logger.warning("reading events again in %.1f s: %s", pause, e)
                await self._forget_connection()
                held_back = True
            if held_back:
                self._news.set()
            # under many short writers something always waits above the horizon: slow down only when nothing moves
            pause = min(pause * 2, SLOWEST_TICK) if held_back and self.events_read == before else TICK
            await asyncio.sleep(pause)

    async def read(self) -> bool:
        """One tick: everything new up to the horizon, in batches. True when committed events wait above the horizon.

        They wait for an older transaction to end, and nobody will wake us when it does: look again soon.
        """
        while True:
            async with self._lock:
                if not self._sockets:
                    self._position = None  # nobody listens: the next subscriber starts at its own horizon
                    return False
                await self._awake()
                assert self._position is not None
                xid, pk = self._position
                rows = await (await self._execute(_READ, (str(xid), pk))).fetchall()
                if rows:
                    self._position = (rows[-1][0], rows[-1][1])
                    self.events_read += len(rows)
                    self._fan_out(rows)
                if len(rows) < BATCH:
                    above = await (await self._execute(_ABOVE, (str(self._position[0]), self._position[1]))).fetchone()
                    return bool(above and above[0])
            await asyncio.sleep(0)  # sockets send between batches

    def _fan_out(self, rows: list[tuple[Any, ...]]) -> None:
        heard = self._sockets
        by_topic: dict[str, list[list[Any]]] = {}
        for row in rows:
            for key, told in topics.of_event([*row[:8], orjson.loads(row[8]), row[9]]):
                if key in heard:
                    by_topic.setdefault(key, []).append(told)
        for key, events in by_topic.items():
            frames_of_topic = frames(key, events)
            for socket in heard[key]:
                for frame in frames_of_topic:
                    socket.deliver(frame)
            self.frames_sent += len(frames_of_topic) * len(heard[key])

    async def _replay(self, topic: topics.Topic, cursor: Cursor, run_pk: int | None) -> list[str]:
        assert self._position is not None
        xid, pk = self._position
        parameters = {
            "low": str(cursor.xmin), "xid": str(xid), "id": pk, "seen": str(cursor),
            "dag": topic.dag_id or None, "run": topic.pk if topic.kind == "run" else run_pk,
        }  # fmt: skip
        rows = await (await self._execute(_REPLAY, parameters)).fetchall()
        if len(rows) > REPLAY_LIMIT:
            raise TooFarBehind
        events = [
            told
            for row in rows
            for key, told in topics.of_event([*row[:8], orjson.loads(row[8]), row[9]])
            if key == topic.key
        ]  # fmt: skip
        return frames(topic.key, events) if events else []

    # --- connection -------------------------------------------------------------------------------------------------
    async def _execute(self, statement: str, parameters: Any = None) -> psycopg.AsyncCursor[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(**wake.connection_parameters(), application_name="trackside-live")  # type: ignore[arg-type]
        return await self._connection.execute(statement, parameters)  # type: ignore[arg-type]

    async def _forget_connection(self) -> None:
        broken, self._connection = self._connection, None
        if broken is not None:
            await broken.close()


def frames(key: str, events: list[list[Any]]) -> list[str]:
    """The events of one topic as few frames of bounded size."""
    pieces: list[bytes] = []
    for event in events:
        tis = event[8]
        if isinstance(tis, list) and len(tis) > TIS_PER_PIECE:
            pieces += [orjson.dumps([*event[:8], tis[k : k + TIS_PER_PIECE], event[9]]) for k in range(0, len(tis), TIS_PER_PIECE)]
        else:
            pieces.append(orjson.dumps(event))
    out, waiting, size = [], list[bytes](), 0
    for piece in pieces:
        if waiting and size + len(piece) > FRAME_BYTES:
            out.append(_frame(key, waiting))
            waiting, size = [], 0
        waiting.append(piece)
        size += len(piece) + 1
    if waiting:
        out.append(_frame(key, waiting))
    return out


def _frame(key: str, pieces: list[bytes]) -> str:
    return (b'{"topic":' + orjson.dumps(key) + b',"events":[' + b",".join(pieces) + b"]}").decode()


_hubs: dict[int, Hub] = {}


def current() -> Hub:
    """The hub of the running event loop; made by the first socket."""
    loop = asyncio.get_running_loop()
    hub = _hubs.get(id(loop))
    if hub is None or hub.loop is not loop:
        hub = _hubs[id(loop)] = Hub()
    return hub
