"""`python -m config.standalone`: the supervisor process itself."""

from __future__ import annotations

import asyncio
import sys

from config.standalone.options import parse
from config.standalone.supervisor import Stack


async def _run() -> int:
    return await Stack(parse(sys.argv[1:])).run()


if __name__ == "__main__":
    sys.exit(asyncio.run(_run()))
