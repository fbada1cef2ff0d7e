"""`trackside celery worker`: a Celery consumer in front of a worker's agent and fork server.

Two processes. This one speaks with the broker: its threads wait for tries, and a message is acknowledged when its try is
over. The other (`trackside.runner.intake`) is a worker like any other, but runs only what this one names.
The first SIGTERM stops taking messages and waits for what runs; the second kills what runs (it starts again elsewhere).
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from celery.exceptions import Reject
from celery.signals import worker_shutdown

from trackside.executors.celery.app import TASK, make_app

logger = logging.getLogger("trackside.worker")
DEFAULT_SLOTS = 16


@dataclass(slots=True)
class Options:
    """What the command line says; None: the environment, or the default."""

    queues: str = "default"
    concurrency: int | None = None
    name: str | None = None
    api_url: str | None = None
    executor: str = "celery"


class AgentGone(Exception):
    """The agent ended; its tries are lost and start again elsewhere."""


class Relay:
    """The conversation with the agent. `run` blocks the thread that has the message."""

    def __init__(self, ours: socket.socket) -> None:
        self._socket = ours
        self._lock = threading.Lock()
        self._waiting: dict[str, threading.Event] = {}
        self.gone = threading.Event()
        self.stopping = False
        threading.Thread(target=self._listen, name="agent", daemon=True).start()

    def run(self, try_id: str) -> None:
        """Have the agent run the try; returns when it is over or not to be had. Raises AgentGone."""
        with self._lock:
            known = self._waiting.get(try_id)
            done = known or self._waiting.setdefault(try_id, threading.Event())
            if known is None and not self.gone.is_set():
                try:
                    self._socket.sendall(f"take {try_id}\n".encode())
                except OSError:
                    self.gone.set()
        while not done.wait(1.0):
            if self.gone.is_set():
                raise AgentGone

    def hang_up(self) -> None:
        """Nothing more will come: the agent ends."""
        self.stopping = True
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _listen(self) -> None:
        data = b""
        while True:
            try:
                got = self._socket.recv(65536)
            except OSError:
                got = b""
            if not got:
                break
            *lines, data = (data + got).split(b"\n")
            for line in lines:
                verb, _, try_id = line.decode().partition(" ")
                if verb == "done":
                    with self._lock:
                        done = self._waiting.pop(try_id, None)
                    if done is not None:
                        done.set()
        self.gone.set()


def run_worker(options: Options) -> int:
    """Be a Celery worker until SIGTERM; the exit code."""
    slots = options.concurrency or int(os.environ.get("TRACKSIDE_PARALLELISM") or DEFAULT_SLOTS)
    name = options.name or f"celery@{socket.gethostname()}"
    ours, theirs = socket.socketpair()
    agent = _start_agent(options, slots, name, theirs)
    relay = Relay(ours)
    app = make_app()

    @app.task(name=TASK, acks_late=True, ignore_result=True)  # type: ignore[misc]
    def run_try(try_id: Any = None) -> None:
        """Run one try; the message holds nothing but its UUID."""
        try:
            identity = str(UUID(str(try_id)))
        except ValueError:
            logger.error("a message names no try (%.100r) and is dropped", try_id)
            return
        try:
            relay.run(identity)
        except AgentGone as error:
            raise Reject("the agent of this worker ended", requeue=False) from error

    worker_shutdown.connect(lambda **_: relay.hang_up(), weak=False)
    threading.Thread(target=_end_with_agent, args=(relay,), name="watch-agent", daemon=True).start()
    queues = [q.strip() for q in options.queues.split(",") if q.strip()]
    worker = app.Worker(
        hostname=name if "@" in name else f"{name}@{socket.gethostname()}", queues=queues, concurrency=slots, pool="threads",
        loglevel=os.environ.get("TRACKSIDE_LOG_LEVEL", "INFO").upper(), without_gossip=True, without_mingle=True, without_heartbeat=True,
        optimization="fair", prefetch_multiplier=1, quiet=True,
    )  # fmt: skip
    try:
        worker.start()
    finally:
        relay.hang_up()
        try:
            agent.wait(30)
        except subprocess.TimeoutExpired:
            agent.kill()
    return int(worker.exitcode or 0)


def _start_agent(options: Options, slots: int, name: str, theirs: socket.socket) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-P", "-m", "trackside.runner.intake", "--fd", str(theirs.fileno()), "--slots", str(slots),
            "--queues", options.queues, "--name", name, "--executor", options.executor]  # fmt: skip
    if options.api_url:
        argv += ["--api-url", options.api_url]
    # a session of its own: Ctrl-C is for the consumer, which lets what runs finish
    agent = subprocess.Popen(argv, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True)
    theirs.close()
    for secret in ("TRACKSIDE_WORKER_TOKEN", "DATABASE_URL"):
        os.environ.pop(secret, None)
    return agent


def _end_with_agent(relay: Relay) -> None:
    relay.gone.wait()
    if not relay.stopping:
        logger.error("the agent of this worker ended: stopping")
        os.kill(os.getpid(), signal.SIGTERM)
