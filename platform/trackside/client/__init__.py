"""A small client for a Trackside server: scripts, notebooks and the `trackside` command.

    from trackside.client import Client
    with Client("https://trackside.example.org", token="trk_…") as server:
        run = server.trigger("nightly", conf={"country": "NO"})
        print(server.wait("nightly", run["dag_run_id"])["state"])

Answers are what `/api/v2` answers, as dicts; lists are `Table`s, which a notebook shows as tables. `AsyncClient` is the same for event
loops. Needs httpx (`pip install 'trackside[cli]'`). Parts: `operations` (`/api/v2`), `actions` and `people` (Trackside's own); `http`
has errors, `profiles` finds address and token.
"""

from __future__ import annotations

from trackside.client.http import ApiError, Unreachable
from trackside.client.operations import Client
from trackside.client.profiles import NoProfile, Profile, find
from trackside.client.tables import Table
from trackside.client.waited import AsyncClient

__all__ = ["ApiError", "AsyncClient", "Client", "NoProfile", "Profile", "Table", "Unreachable", "find"]
