"""The embedded PostgreSQL: what Trackside runs on when no DATABASE_URL is set. Imports no Django.

    with EmbeddedPostgres(home) as server:
        connect_to(server.url())

One process supervises (`EmbeddedPostgres`), every other one reads where the server is (`read_server_info`). Next
door: `testing`, the server of the test suite. The order in which a start happens is in
`supervisor.EmbeddedPostgres._start_locked`.
"""

from config.embedded_postgres.errors import AlreadyRunning, EmbeddedPostgresError, NoUsablePostgres, StartFailed
from config.embedded_postgres.server_info import ServerInfo, read_server_info
from config.embedded_postgres.supervisor import EmbeddedPostgres

__all__ = [
    "AlreadyRunning", "EmbeddedPostgres", "EmbeddedPostgresError", "NoUsablePostgres", "ServerInfo", "StartFailed",
    "read_server_info",
]  # fmt: skip
