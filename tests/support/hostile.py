"""A catalogue and ledger in which every text that a user can choose is a text of the test's, for tests of what pages make of it.

The fields are found in the models, so that a new one is part of it from its first day; those named in `KEPT` are words of our own
(states, kinds), names that are checked when they are made (ids of DAGs, runs and tasks, file paths), or hashes.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from django.apps import apps
from django.db import models
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from apps.access.models import AuditEvent, Connection, Variable
from apps.dags.models import Asset, AssetUse, Dag, DagFile, DagVersion, DagWarning, ImportProblem
from apps.runs import logs
from apps.runs.models import HITLDetail, Pool, Process, Run, TaskInstance, Try, XCom
from apps.ui.tests import factories

KEPT = {
    "run_id", "dag_id", "task_id", "state", "run_type", "kind", "verb", "triggered_by", "relative_path", "path",
    "relative_fileloc", "bundle_name", "spec_hash", "file_hash", "files_hash", "content_hash", "hash", "token_hash",
    "final_state", "marked", "timezone", "conn_type", "fingerprint", "reprocess_behavior", "executor", "source_dag_id",
    "source_task_id", "ref_name", "ref_uri", "password", "username", "codename", "app_label", "model", "session_key",
    "prefix", "secret_hash", "content_type", "domain",
}  # fmt: skip
JSON_KEPT = {
    "spec", "timetable", "snapshot", "queues", "instances", "runs", "dag_ids", "assigned_users", "watchers",
    "responded_by", "chosen_options", "defaults", "info", "payload", "scopes", "preferences", "next_kwargs",
    "access_control",
}  # fmt: skip
"""JSON of a form of its own; what users choose in specs is put there by `spec_of`."""
UNIQUE = {"key", "name", "conn_id", "uri"}


def spec_of(text: str) -> dict[str, Any]:
    """A DAG whose file says the text wherever an author may write freely."""
    made = factories.spec("orders", ["a", "g.b"], {"g": ["g.b"]}).to_dict()
    schema = {"type": "string", "title": text, "description": text, "description_md": text, "section": text}
    marked = {"type": "string", "description_md": text}  # read only where there is no description
    params = {"p": {"value": text, "schema": schema}, "md": {"value": text, "schema": marked}}
    made |= {"description": text, "doc_md": text, "params": params, "owner_links": {text: text}, "tags": [text]}
    for task in made["tasks"]:
        task |= {"doc": text, "doc_md": text, "doc_rst": text, "task_display_name": text, "owner": text,
                 "attributes": {"bash_command": text}, "ui_color": text, "ui_fgcolor": text,
                 "extra_links": [text], "params": params, "pool": text, "queue": text}  # fmt: skip
    for group in made["groups"]:
        group |= {"label": text, "tooltip": text, "doc_md": text, "ui_color": text}
    return made


def world(text: str, folder: Path) -> dict[str, Any]:
    """Make it; the names and keys that addresses need. `folder`: where logs go (settings.LOGS_FOLDER)."""
    dag = factories.dag(made=factories.spec("orders", ["a", "g.b"], {"g": ["g.b"]}))
    dag.tags.create(name="tag")
    run = factories.run(dag, state="failed", states={"a": "failed", "g.b": "upstream_failed"})
    ti = TaskInstance.objects.get(run=run, task_id="a")
    row = factories.a_try(ti, state="failed")
    logs.append(row.pk, 0, b"".join(json.dumps(r).encode() + b"\n" for r in records(text)))
    XCom.objects.create(run=run, dag_id="orders", task_id="a", key="return_value", value=json.dumps({text: [text]}))
    file = DagFile.objects.create(relative_path="broken.py", path="/dags/broken.py")
    ImportProblem.objects.create(file=file, message="m", stacktrace="s")
    DagWarning.objects.create(dag=dag, kind="w", message="m")
    Process.objects.create(kind="worker", name="one", queues=["default"])
    extra = {"before": text, text: text}
    AuditEvent.objects.create(action=text[:100], actor=text[:250], dag_id="orders", object_id=text[:500], extra=extra)
    asset = Asset.objects.create(name="asset", uri="s3://asset", is_active=True)
    AssetUse.objects.create(dag=dag, kind="outlet", task_id="a", asset=asset)
    asking = factories.run(factories.dag("asking", ["extract"]), state="running")
    who = TaskInstance.objects.get(run=asking, task_id="extract")
    TaskInstance.objects.filter(pk=who.pk).update(state="awaiting_input")
    HITLDetail.objects.create(ti=who, try_id=who.try_id, subject="s", options=[text, "No"])
    Variable.objects.create(key="v", value=text)
    Connection.objects.create(conn_id="c", conn_type="http", extra=json.dumps({text: text}))
    Pool.objects.create(name="pool", slots=1)
    poison(text)
    DagVersion.objects.filter(dag=dag).update(spec=spec_of(text), source=text)
    Try.objects.filter(pk=row.pk).update(log_ended=True)
    run.refresh_from_db()
    return {
        "dag_id": "orders", "run_id": run.run_id, "dag_run_id": run.run_id, "run_pk": run.pk, "task_id": "a", "ti_pk": ti.pk,
        "try_id": row.pk, "asset_pk": asset.pk, "asset_id": asset.pk, "pk": asset.pk, "map_index": -1, "try_number": 1,
    }  # fmt: skip


def records(text: str) -> list[dict[str, Any]]:
    """Log records of every form."""
    told = [{"exc_type": text, "exc_value": text, "text": text, "frames": [{"name": text}]}]
    return [
        {"event": text, "level": "info", "logger": text, "src": "stdout", "t": "2026-11-18T14:10:51Z"}, {"event": f"::group::{text}"},
        {"event": f"\x1b[31m{text}\x1b[0m \x1b]8;;{text}\x07link\x1b]8;;\x07 https://{text}"}, {"event": "::endgroup::"},
        {"event": "failed", "level": "error", "error_detail": told},
    ]  # fmt: skip


def poison(text: str) -> int:
    """Write the text into every field there is; how many."""
    done = 0
    for model in apps.get_models():
        if model._meta.app_label not in ("access", "dags", "runs") or model in (AuditEvent,) or not model._meta.managed:
            continue
        for field in model._meta.concrete_fields:
            if field.primary_key or field.is_relation or field.choices:
                continue
            if isinstance(field, models.JSONField) and field.name not in JSON_KEPT:
                done += model._default_manager.update(**{field.name: {text: text, "list": [text, {"deep": text}]}})
            elif isinstance(field, models.CharField | models.TextField) and field.name not in KEPT | {"value", "extra", "key"}:
                for pk in model._default_manager.values_list("pk", flat=True):
                    value = text if field.name not in UNIQUE else f"{text}{uuid.uuid4().hex[:6]}"
                    longest = field.max_length or 10**6
                    done += model._default_manager.filter(pk=pk).update(**{field.name: value[:longest]})
    Dag.objects.filter(next_run_id=text[:250]).update(next_run_id=None)
    Run.objects.update(reason_code=None)
    TaskInstance.objects.update(reason_code=None)
    return done


def addresses(known: dict[str, Any]) -> dict[str, str]:
    """Every page that can be asked for with GET → its address."""
    found = {}
    for pattern in _routes(get_resolver()):
        names = list(pattern.pattern.converters)
        if pattern.name and hasattr(pattern.callback, "needs") and all(n in known for n in names):
            found[pattern.name] = reverse(pattern.name, kwargs={n: known[n] for n in names})
    return found


def _routes(resolver: Any) -> list[URLPattern]:
    found: list[URLPattern] = []
    for pattern in resolver.url_patterns:
        found += _routes(pattern) if isinstance(pattern, URLResolver) else [pattern]
    return found
