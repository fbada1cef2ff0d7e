"""Example values for the published description, made of the schemas: one small story (a DAG called `daily_sales`), no secrets.

Known names get words of that story, everything else the smallest value its type allows.
"""

from __future__ import annotations

from typing import Any

_WORDS: dict[str, Any] = {
    "dag_id": "daily_sales",
    "dag_display_name": "Daily sales",
    "dag_run_id": "manual__2026-03-02T06:00:00+00:00",
    "run_id": "manual__2026-03-02T06:00:00+00:00",
    "task_id": "load",
    "task_display_name": "load",
    "connection_id": "warehouse",
    "conn_type": "postgres",
    "host": "db.example.org",
    "login": "etl",
    "schema": "sales",
    "password": "***",
    "extra": "{}",
    "key": "report_recipients",
    "pool": "default_pool",
    "name": "sales",
    "uri": "s3://lake/sales.parquet",
    "owner": "ann",
    "owners": ["ann"],
    "note": "Loaded again after the source was corrected.",
    "operator": "@task",
    "queue": "default",
    "hostname": "worker-1",
    "bundle_name": "dags-folder",
    "triggering_user_name": "ann",
    "map_index": -1,
    "try_number": 1,
    "slots": 8,
    "access_token": "<token>",
    "username": "ann",
    "content": "with DAG('daily_sales'): ...",
    "filename": "daily_sales.py",
    "relative_fileloc": "daily_sales.py",
    "fileloc": "/dags/daily_sales.py",
}


def example_of(schema: Any, name: str = "", *, only_required: bool = False) -> Any:
    """A value that fits the (reference-free) schema; None where the schema says nothing."""
    if not isinstance(schema, dict):
        return None
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for word in ("anyOf", "oneOf"):
        if word in schema:
            real = [s for s in schema[word] if s.get("type") != "null"] or schema[word]
            return example_of(real[0], name, only_required=only_required)
    kind = schema.get("type")
    if name in _WORDS and _fits(_WORDS[name], kind):
        return _WORDS[name]
    if kind == "object" or "properties" in schema:
        return _object(schema, only_required=only_required)
    if kind == "array":
        return [example_of(schema.get("items"), name, only_required=only_required)] if schema.get("items") else []
    return _scalar(schema, kind)


def _fits(value: Any, kind: Any) -> bool:
    return {"string": str, "integer": int, "array": list}.get(kind) is type(value)


def _object(schema: dict[str, Any], *, only_required: bool) -> dict[str, Any]:
    required = schema.get("required", ())
    names = [n for n in schema.get("properties", {}) if n in required or not only_required]
    return {n: example_of(schema["properties"][n], n, only_required=only_required) for n in names}


def _scalar(schema: dict[str, Any], kind: Any) -> Any:
    if kind == "string":
        formats = {
            "date-time": "2026-03-02T06:00:00Z",
            "date": "2026-03-02",
            "uuid": "01959d5e-3a1c-7b1e-9f52-0c6b8e1f4a10",
            "duration": "PT2H",
        }
        return formats.get(schema.get("format", ""), "text")
    return {"integer": schema.get("minimum", 1), "number": 1.5, "boolean": True}.get(kind)
