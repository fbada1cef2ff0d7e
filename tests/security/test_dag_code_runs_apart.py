"""S4: code of DAG files runs in processes of user code only: parse, task, callback and trigger, never in a process of the server.

A canary says in which process it was imported or called, and what that process has in its environment.
"""

from __future__ import annotations

import json

import pytest

from tests.support.server import Server, until

pytestmark = pytest.mark.e2e
CANARY = '''
import json, os
from airflow.sdk import DAG, BaseOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent

def note(where):
    with open(NOTES, "a") as notes:
        notes.write(json.dumps([where, os.getpid(), sorted(os.environ)]) + "\\n")

note("import")

class Wait(BaseTrigger):
    def serialize(self):
        return f"{__name__}.Wait", {}

    async def run(self):
        note("trigger")
        yield TriggerEvent(True)

class Work(BaseOperator):
    def execute(self, context):
        note("task")
        self.defer(trigger=Wait(), method_name="after")

    def after(self, context, event):
        note("resumed")

with DAG("canary_of_processes", schedule=None, on_success_callback=lambda context: note("callback")):
    Work(task_id="work")
'''
SECRETS = {"DATABASE_URL", "PGPASSWORD", "DJANGO_SECRET_KEY", "TRACKSIDE_SECRET_KEY", "TRACKSIDE_FERNET_KEYS", "TRACKSIDE_WORKER_TOKEN"}


def test_s4_no_process_of_the_server_imports_or_calls_what_a_dag_file_says(trackside: Server) -> None:
    notes = trackside.home / "s4.jsonl"
    (trackside.dags_folder / "canary_of_processes.py").write_text(f"NOTES = {str(notes)!r}\n{CANARY}")
    trackside.wait_dag("canary_of_processes")
    trackside.unpause("canary_of_processes")
    run_id = trackside.trigger("canary_of_processes")
    assert trackside.wait_run("canary_of_processes", run_id, 120)["state"] == "success"
    until(lambda: '"callback"' in notes.read_text(), "the callback was called", 60)
    seen = [json.loads(line) for line in notes.read_text().splitlines()]
    assert {where for where, _, _ in seen} == {"import", "task", "trigger", "resumed", "callback"}
    servers = {trackside.process.pid, *trackside.pids.values()}
    assert {"web", "scheduler", "dag_processor", "triggerer"} <= trackside.pids.keys()
    assert [where for where, pid, _ in seen if pid in servers] == []
    assert [(where, name) for where, _, names in seen for name in names if name in SECRETS] == []
