"""What Trackside adds to the REST API, below `/api/trackside/v1`: why, preview and undo, live events, logs, waiting.

The same domain calls and the same live hub as the pages use. `urls.py` is the whole URL table of the REST API.
"""

from __future__ import annotations

from functools import partial

from apps.access.rest.operations import OWN, operation

own = partial(operation, base=OWN)
"""`operation` for paths below /api/trackside/v1."""
