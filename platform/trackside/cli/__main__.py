"""`python -m trackside.cli`: the `trackside` command where its script is not on PATH."""

from __future__ import annotations

import sys

from trackside.cli import main

if __name__ == "__main__":
    sys.exit(main())
