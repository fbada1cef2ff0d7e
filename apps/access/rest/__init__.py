"""The small framework the REST API is written in: operations, resources, filters, paging and error shapes.

An operation is a function with a line above it that says method, path, right and what it reads; its name is Airflow's operation id:

    @operation("GET /pools/{pool_name}", may=("read", "pool"), returns=POOLS.one)
    def get_pool(call: Call, pool_name: str) -> dict: ...

A resource says once which fields, filters and orders a kind of object has (`resources.Resource`). `routes.py` makes URLs
from the registered operations, `openapi.py` the published description. Users of it: `apps/*/api/`.
"""
