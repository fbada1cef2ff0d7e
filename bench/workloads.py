"""DAG files to measure with, written into a folder: the same shapes that were timed on Airflow.

Each task does next to nothing and appends its own first and last moment to the file named by $BENCH_TRACE.
"""

from __future__ import annotations

from pathlib import Path

_HEAD = '''"""Written by bench/workloads.py."""
import os
import time

from airflow.sdk import dag, task


def note(name, start):
    with open(os.environ["BENCH_TRACE"], "a") as trace:
        trace.write(f"{name} {start:.6f} {time.time():.6f}\\n")

'''
_CHAIN = (
    _HEAD
    + """
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


@dag(dag_id="DAG_ID", schedule=None, catchup=False, description="VERSION")
def chain():
    @task
    def step(name):
        start = time.time()
        fibonacci(WORK)
        note(name, start)

    before = None
    for i in range(LENGTH):
        this = step.override(task_id=f"t{i:02d}")(f"DAG_ID.t{i:02d}")
        if before is not None:
            before >> this
        before = this


chain()
"""
)
_FAN = (
    _HEAD
    + """
@dag(dag_id="DAG_ID", schedule=None, catchup=False, max_active_tasks=1000)
def fan():
    @task
    def no_op(name):
        note(name, time.time())

    first, last = no_op.override(task_id="first")("first"), no_op.override(task_id="last")("last")
    for i in range(WIDTH):
        first >> no_op.override(task_id=f"n{i:03d}")(f"n{i:03d}") >> last


fan()
"""
)
_HELLO = '''"""Written by bench/workloads.py."""
from airflow.sdk import dag, task


@dag(dag_id="DAG_ID", schedule=None, catchup=False)
def hello():
    @task
    def say():
        print("hello")

    say()


hello()
'''

_MAPPED = (
    _HEAD
    + """
@dag(dag_id="DAG_ID", schedule=None, catchup=False, max_active_tasks=1000)
def mapped():
    @task
    def no_op(n):
        note(f"n{n:04d}", time.time())

    no_op.expand(n=list(range(WIDTH)))


mapped()
"""
)
_DEFERRED = '''"""Written by bench/workloads.py."""
from airflow.providers.standard.triggers.file import FileTrigger
from airflow.sdk import DAG, BaseOperator


class Waits(BaseOperator):
    def __init__(self, number, **kwargs):
        super().__init__(**kwargs)
        self.number = number

    def execute(self, context):
        self.defer(trigger=FileTrigger("GATE", poke_interval=1.0), method_name="go_on")

    def go_on(self, context, event):
        return None


with DAG("DAG_ID", schedule=None, catchup=False, max_active_tasks=1000):
    Waits.partial(task_id="wait").expand(number=list(range(WIDTH)))
'''
_ASSETS = '''"""Written by bench/workloads.py."""
from airflow.sdk import DAG, Asset, PartitionedAssetTimetable, PartitionedAtRuntime, task

table = Asset("DAG_ID_table")

with DAG("DAG_ID", schedule=PartitionedAtRuntime(), catchup=False):
    @task(outlets=[table])
    def make(*, outlet_events=None):
        outlet_events[table].add_partitions([f"k{n:05d}" for n in range(WIDTH)])

    make()

with DAG("DAG_ID_use", schedule=PartitionedAssetTimetable(assets=table), catchup=False, max_active_runs=1000):
    @task
    def use():
        return None

    use()
'''


def _write(folder: Path, dag_id: str, text: str, **values: object) -> str:
    for name, value in {"DAG_ID": dag_id, **values}.items():
        text = text.replace(name, str(value))
    folder.mkdir(parents=True, exist_ok=True)
    # other name first: the DAG processor never sees half a file
    draft = folder / f".{dag_id}.draft"
    draft.write_text(text)
    draft.replace(folder / f"{dag_id}.py")
    return dag_id


def chain(folder: Path, dag_id: str, length: int, work: int = 1, version: str = "first") -> str:
    """`length` tasks one after the other, each computing fibonacci(work). The DAG's id."""
    return _write(folder, dag_id, _CHAIN, LENGTH=length, WORK=work, VERSION=version)


def fan(folder: Path, dag_id: str, width: int) -> str:
    """One task, then `width` at once, then one. The DAG's id."""
    return _write(folder, dag_id, _FAN, WIDTH=width)


def hello(folder: Path, dag_id: str = "bench_hello") -> str:
    """One task that prints a word. The DAG's id."""
    return _write(folder, dag_id, _HELLO)


def mapped(folder: Path, dag_id: str, width: int) -> str:
    """`width` instances of one mapped task. The DAG's id."""
    return _write(folder, dag_id, _MAPPED, WIDTH=width)


def deferred(folder: Path, dag_id: str, width: int, gate: Path) -> str:
    """`width` tasks that wait in the triggerer until the file `gate` is there. The DAG's id."""
    return _write(folder, dag_id, _DEFERRED, WIDTH=width, GATE=gate)


def assets(folder: Path, dag_id: str, width: int) -> str:
    """One task with `width` events of an asset, a consumer run for each. The producer's id; the consumer's ends in _use."""
    return _write(folder, dag_id, _ASSETS, WIDTH=width)
