"""`trackside celery worker`: a Celery consumer in front of a worker's agent and fork server.

Two processes. This one speaks with the broker (`pool`): a message is acknowledged when its try is over. The other
(`trackside.runner.intake`) is a worker like any other, but runs only what this one names.
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

from celery.signals import worker_shutting_down

from trackside.core import logline
from trackside.executors.celery.app import TASK, make_app
from trackside.executors.celery.pool import AgentPool, hang_up

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


def run_worker(options: Options) -> int:
    """Be a Celery worker until SIGTERM; the exit code."""
    slots = options.concurrency or int(os.environ.get("TRACKSIDE_PARALLELISM") or DEFAULT_SLOTS)
    name = options.name or f"celery@{socket.gethostname()}"
    ours, theirs = socket.socketpair()
    agent = _start_agent(options, slots, name, theirs)
    AgentPool.ours = ours
    app = make_app()

    @app.task(name=TASK, acks_late=True, ignore_result=True)  # type: ignore[misc]
    def run_try(try_id: Any = None) -> None:
        """The name under which messages come; what runs is the agent's business (`pool`)."""

    stopping = threading.Event()
    worker_shutting_down.connect(lambda **_: hang_up(ours) if stopping.is_set() else stopping.set(), weak=False)
    threading.Thread(target=_end_with_agent, args=(agent, stopping), name="watch-agent", daemon=True).start()
    logging.getLogger("celery.worker.strategy").setLevel(max(logging.WARNING, logger.getEffectiveLevel()))  # a line per message
    queues = [q.strip() for q in options.queues.split(",") if q.strip()]
    worker = app.Worker(
        hostname=name if "@" in name else f"{name}@{socket.gethostname()}", queues=queues, concurrency=slots, pool=AgentPool,
        loglevel=logline.level(os.environ), without_gossip=True, without_mingle=True, without_heartbeat=True,
        optimization="fair", prefetch_multiplier=1, quiet=True,
    )  # fmt: skip
    worker.pool.consumer = worker.consumer
    try:
        worker.start()
    finally:
        stopping.set()
        hang_up(ours)
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


def _end_with_agent(agent: subprocess.Popen[bytes], stopping: threading.Event) -> None:
    agent.wait()
    if not stopping.is_set():
        logger.error("the agent of this worker ended: stopping")
        os.kill(os.getpid(), signal.SIGTERM)
