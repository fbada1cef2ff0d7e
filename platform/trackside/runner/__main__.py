"""`python -m trackside.runner`: run one single try and leave (pods, Celery messages).

    python -m trackside.runner --api-url https://trackside.example --try-id 0190… < start-token

The single-use start token comes on stdin or from `--token-file` (a mounted secret), never as an argument. `start` claims
the try and brings its order; from then on it is `single.SingleTry`'s. Nothing but what the try's fork server needs as well
is imported before that was forked off (`ahead`); the rest of the imports go on beside it.

Exit code: 0 the try ended and its report was accepted (however the task ended), 1 the report was not accepted, or the try was
stopped through no fault of the task, 2 it could
not be started (409, 410: somebody else has it or it is not wanted any more).
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from argparse import Namespace

    from trackside.runner.ahead import Ahead


def main(argv: list[str]) -> int:
    """The command."""
    gc.disable()  # until all is imported: nothing of it goes away
    from trackside.runner import ahead, procs

    forked = ahead.fork(argv)
    procs.become_subreaper()
    procs.hide_memory()
    from pathlib import Path

    from trackside.core import logline

    options = _options(argv)
    token = Path(options.token_file).read_text(encoding="utf-8") if options.token_file else sys.stdin.readline()
    logline.configure("runner", os.environ, **({"try_id": options.try_id} if options.try_id else {}))
    settings = dict(pair.split("=", 1) for pair in options.fork_settings.split(",") if pair)
    if options.reuse:
        from trackside.runner.command import run_loop

        return int(run_loop(_run(options, token.strip(), settings, None)))
    import asyncio  # uvloop takes longer to import than it saves for one try

    return asyncio.run(_run(options, token.strip(), settings, forked))


def _options(argv: list[str]) -> Namespace:
    import argparse
    from pathlib import Path

    parser = argparse.ArgumentParser(prog="python -m trackside.runner", description="Run one single try and leave.")
    parser.add_argument("--api-url", default=os.environ.get("TRACKSIDE_API_URL", ""))
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--try-id")
    what.add_argument("--reuse", action="store_true", help="ask for one try after the other (warm pods)")
    parser.add_argument("--idle", type=float, default=60.0, help="--reuse: leave after so many seconds without a try")
    parser.add_argument("--tries", type=int, default=100, help="--reuse: leave after so many tries")
    parser.add_argument("--age", type=float, default=3600.0, help="--reuse: take no try after so many seconds")
    parser.add_argument("--empty", type=Path, help="--reuse: a folder to be emptied after each try")
    parser.add_argument("--token-file", help="file with the start token; without it the token is read from stdin")
    parser.add_argument("--fork-settings", default="", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if not options.api_url:
        parser.error("--api-url or TRACKSIDE_API_URL is needed")
    return options


async def _run(options: Namespace, token: str, settings: dict[str, Any], forked: Ahead | None) -> int:
    import asyncio
    import signal

    api_url = options.api_url.rstrip("/")
    runner: Any
    if options.reuse:
        from trackside.runner import warm

        limits = warm.Limits(options.idle, options.tries, options.age)
        runner = warm.WarmRunner(api_url, token, limits, settings, options.empty)
    else:
        from trackside.runner.single import SingleTry

        runner = SingleTry(api_url, options.try_id, token, settings, ahead=forked)
    gc.freeze()
    gc.enable()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, runner.stop)
    return int(await runner.run())


def _leave(code: int) -> NoReturn:
    """Nothing here waits for its turn at the interpreter's end, which would take down module after module."""
    import logging

    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    _leave(main(sys.argv[1:]))
