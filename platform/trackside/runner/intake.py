"""`python -m trackside.runner.intake --fd N`: an agent that runs what its parent names, for brokers that bring messages.

The parent (a Celery worker, `trackside.executors.celery.worker`) writes `take <try id>` and hears `done <try id>` once that try
is over, or will never come: then its message is done with. `leave <try id>` takes it back if it has not come yet, and is
answered by `left <try id>`. Everything else is a worker's life (`agent`). The end of the
conversation ends the agent; what still runs then is killed and reported as lost, so that it starts again elsewhere at once.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys

from trackside.core import logline
from trackside.runner import procs
from trackside.runner.agent import Agent, WorkerConfig
from trackside.runner.command import WrongSetting, configure, run_loop

log = logging.getLogger("trackside.worker")


def main(argv: list[str]) -> int:
    """The command; 1 if a setting is wrong."""
    parser = argparse.ArgumentParser(prog="python -m trackside.runner.intake")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--slots", type=int)
    parser.add_argument("--queues")
    parser.add_argument("--name")
    parser.add_argument("--api-url")
    parser.add_argument("--executor", default="celery")
    given = parser.parse_args(argv)
    logline.configure("worker", os.environ)
    try:
        config = configure(
            os.environ, api_url=given.api_url, slots=given.slots, queues=given.queues.split(",") if given.queues else None,
            name=given.name, executor=given.executor,
        )  # fmt: skip
    except WrongSetting as error:
        log.error("%s", error)
        return 1
    config.sweep = True
    for secret in ("TRACKSIDE_WORKER_TOKEN", "DATABASE_URL"):
        os.environ.pop(secret, None)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, signal.SIG_IGN)  # the parent decides: it hangs up when it has ended
    procs.become_subreaper()
    procs.hide_memory()
    run_loop(_serve(config, socket.socket(fileno=given.fd)))
    return 0


async def _serve(config: WorkerConfig, parent: socket.socket) -> None:
    agent = Agent(config)
    agent.take_only_wanted()
    parent.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=parent)
    agent.on_done = lambda try_id: writer.write(f"done {try_id}\n".encode())
    listening = asyncio.ensure_future(_listen(reader, writer, agent))
    try:
        await agent.run()
    finally:
        listening.cancel()
        writer.close()


async def _listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, agent: Agent) -> None:
    try:
        while line := await reader.readline():
            verb, _, try_id = line.decode().strip().partition(" ")
            if verb == "take":
                agent.want(try_id)
            elif verb == "leave" and agent.leave(try_id):
                writer.write(f"left {try_id}\n".encode())
    except ConnectionError:
        pass
    agent.stop()
    agent.stop()  # whoever would hear of the rest is gone: do not wait for it


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
