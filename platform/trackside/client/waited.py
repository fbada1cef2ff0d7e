"""The client for event loops: every method of `Client`, awaited. Each call runs in a thread, so that one slow answer holds up nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from trackside.client.operations import ENDED, Client, Progress
from trackside.client.progress import Shown

P = ParamSpec("P")
R = TypeVar("R")


def _awaited(method: Callable[Concatenate[Client, P], R]) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, R]]:
    """The same method, with the same arguments and words, awaited."""

    @wraps(method)
    async def call(self: AsyncClient, *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.to_thread(method, self.sync, *args, **kwargs)

    return call


class AsyncClient:
    """`Client` for event loops: every method is awaited."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.sync = Client(*args, **kwargs)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.sync.close)

    async def wait(
        self,
        dag_id: str,
        run_id: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - as Client.wait
        progress: Progress | bool | None = None,
        pause: float = 1.0,
    ) -> dict[str, Any]:
        """See `Client.wait`; waiting itself holds no thread."""
        shown = Shown() if progress is True else None
        told: Any = shown or progress or None
        seen: Any = None
        try:
            async with asyncio.timeout(timeout):
                while True:
                    run = await self.run(dag_id, run_id)
                    if told is not None:
                        tasks = await self.tasks(dag_id, run_id)
                        if (now := (run["state"], [(t["task_id"], t["map_index"], t["state"]) for t in tasks])) != seen:
                            seen = now
                            told(run, tasks)
                    if run["state"] in ENDED:
                        return run
                    await asyncio.sleep(pause)
        finally:
            if shown is not None:
                shown.close()

    call = _awaited(Client.call)
    dags = _awaited(Client.dags)
    dag = _awaited(Client.dag)
    pause = _awaited(Client.pause)
    trigger = _awaited(Client.trigger)
    runs = _awaited(Client.runs)
    run = _awaited(Client.run)
    clear = _awaited(Client.clear)
    tasks = _awaited(Client.tasks)
    task = _awaited(Client.task)
    assets = _awaited(Client.assets)
    asset = _awaited(Client.asset)
    backfills = _awaited(Client.backfills)
    audit = _awaited(Client.audit)
    import_errors = _awaited(Client.import_errors)
    variables = _awaited(Client.variables)
    connections = _awaited(Client.connections)
    pools = _awaited(Client.pools)
    get = _awaited(Client.get)
    put = _awaited(Client.put)
    delete = _awaited(Client.delete)
    health = _awaited(Client.health)
    well = _awaited(Client.well)
    version = _awaited(Client.version)
    # actions
    switch = _awaited(Client.switch)
    clear_tasks = _awaited(Client.clear_tasks)
    mark_tasks = _awaited(Client.mark_tasks)
    set_run_state = _awaited(Client.set_run_state)
    delete_run = _awaited(Client.delete_run)
    delete_dag = _awaited(Client.delete_dag)
    undo = _awaited(Client.undo)
    # people
    users = _awaited(Client.users)
    create_user = _awaited(Client.create_user)
    create_service_account = _awaited(Client.create_service_account)
    set_roles = _awaited(Client.set_roles)
    delete_user = _awaited(Client.delete_user)
    roles = _awaited(Client.roles)
    create_role = _awaited(Client.create_role)
    set_rights = _awaited(Client.set_rights)
    delete_role = _awaited(Client.delete_role)
    tokens = _awaited(Client.tokens)
    create_token = _awaited(Client.create_token)
    revoke_token = _awaited(Client.revoke_token)
    teams = _awaited(Client.teams)
    team = _awaited(Client.team)
    create_team = _awaited(Client.create_team)
    update_team = _awaited(Client.update_team)
    delete_team = _awaited(Client.delete_team)
