"""`trackside worker`: settings from arguments and environment, then the agent until it is told to stop.

Environment: TRACKSIDE_API_URL, TRACKSIDE_WORKER_TOKEN or TRACKSIDE_WORKER_TOKEN_FILE, TRACKSIDE_PARALLELISM (slots),
TRACKSIDE_QUEUES (comma separated), TRACKSIDE_WORKER_NAME, TRACKSIDE_WORKER_CWD (folder tasks start in),
TRACKSIDE_WORKER_DRAIN_S (how long tasks may finish after SIGTERM), TRACKSIDE_DAGS_FOLDER (where DAG files lie on this
machine).
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trackside.runner import procs
from trackside.runner.agent import Agent, WorkerConfig

DEFAULT_API_URL = "http://127.0.0.1:8080"
DEFAULT_SLOTS = 32


class WrongSetting(ValueError):
    """A setting of the worker is missing or makes no sense; the message names it and says what to do."""


def worker_token(environment: Mapping[str, str]) -> str:
    """The worker token from TRACKSIDE_WORKER_TOKEN or the file TRACKSIDE_WORKER_TOKEN_FILE names."""
    if token := environment.get("TRACKSIDE_WORKER_TOKEN", "").strip():
        return token
    if file := environment.get("TRACKSIDE_WORKER_TOKEN_FILE", "").strip():
        try:
            if token := Path(file).read_text(encoding="utf-8").strip():
                return token
        except OSError as error:
            raise WrongSetting(f"TRACKSIDE_WORKER_TOKEN_FILE: {error}") from error
        raise WrongSetting(f"TRACKSIDE_WORKER_TOKEN_FILE: {file} is empty")
    raise WrongSetting("set TRACKSIDE_WORKER_TOKEN or TRACKSIDE_WORKER_TOKEN_FILE: the worker needs a token")


def configure(
    environment: Mapping[str, str],
    *,
    api_url: str | None = None,
    token: str | None = None,
    slots: int | None = None,
    queues: Sequence[str] | None = None,
    name: str | None = None,
    **more: Any,
) -> WorkerConfig:
    """Settings of a worker: arguments win over the environment. Raises WrongSetting."""
    names = queues if queues is not None else environment.get("TRACKSIDE_QUEUES", "default").split(",")
    config = WorkerConfig(
        api_url=(api_url or environment.get("TRACKSIDE_API_URL") or DEFAULT_API_URL).rstrip("/"),
        token=token or worker_token(environment),
        slots=slots if slots is not None else int(_number(environment, "TRACKSIDE_PARALLELISM", DEFAULT_SLOTS)),
        queues=[queue.strip() for queue in names if queue.strip()],
        name=name or environment.get("TRACKSIDE_WORKER_NAME", ""),
        cwd=environment.get("TRACKSIDE_WORKER_CWD") or str(Path.cwd()),
        dags_folder=environment.get("TRACKSIDE_DAGS_FOLDER") or None,
        drain_s=_number(environment, "TRACKSIDE_WORKER_DRAIN_S", 10.0),
    )
    for key, value in more.items():
        if value is not None:
            setattr(config, key, value)
    if not config.api_url.startswith(("http://", "https://")):
        raise WrongSetting(f"TRACKSIDE_API_URL: {config.api_url!r} is no http(s) address")
    if config.slots < 1:
        raise WrongSetting(f"TRACKSIDE_PARALLELISM: {config.slots} slots are no use, at least 1 is needed")
    if not config.queues:
        raise WrongSetting("TRACKSIDE_QUEUES: name at least one queue")
    if not Path(config.cwd).is_dir():
        raise WrongSetting(f"TRACKSIDE_WORKER_CWD: {config.cwd} is no folder")
    return config


def run_worker(
    api_url: str | None = None,
    token: str | None = None,
    slots: int | None = None,
    queues: Sequence[str] | None = None,
    name: str | None = None,
    *,
    drain_s: float | None = None,
    **more: Any,
) -> None:
    """Be a worker until SIGTERM or SIGINT (a second one: do not wait for running tasks). Blocks.

    What is not given comes from the environment, see the module. Raises WrongSetting. The process must have no other
    children: orphans of tasks fall to it and are killed.
    """
    config = configure(
        os.environ, api_url=api_url, token=token, slots=slots, queues=queues, name=name, drain_s=drain_s, **more
    )
    config.sweep = True
    for secret in ("TRACKSIDE_WORKER_TOKEN", "DATABASE_URL"):
        os.environ.pop(secret, None)
    procs.become_subreaper()
    procs.hide_memory()
    _allow_many_files(config.slots)
    run_loop(_serve(config))


def run_loop(main: Any) -> Any:
    """Run a coroutine on uvloop where it is installed, on asyncio's own loop elsewhere."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


async def _serve(config: WorkerConfig) -> None:
    agent = Agent(config)
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, agent.stop)
    logging.getLogger(__name__).info(
        "worker %s: %d slots, queues %s, server %s", agent.name, config.slots, ", ".join(config.queues), config.api_url
    )
    await agent.run()


def _allow_many_files(slots: int) -> None:
    """Each running try takes a handful of descriptors of the agent."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 256 + slots * 8
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _number(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        raise WrongSetting(f"{name}: {text!r} is no number") from None
    if value < 0:
        raise WrongSetting(f"{name}: {text} is negative")
    return value
