"""Where a triggerer's child finds the classes of triggers: importable modules, and the DAG file that deferred."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from trackside.runner.triggers.child import find_class
from trackside.sdk.parsing import load_file

FILE = """
import time
from pathlib import Path
from airflow.triggers.base import BaseTrigger

with Path(__file__).with_suffix(".loads").open("a") as noted:
    noted.write("x")
time.sleep(0.05)

class Mine(BaseTrigger):
    def serialize(self):
        return (f"{type(self).__module__}.Mine", {})

    async def run(self):
        yield None
"""


def test_many_triggers_of_one_dag_file_that_come_at_once_load_it_once(tmp_path: Path) -> None:
    file = tmp_path / "defers_at_once.py"
    file.write_text(FILE)
    load_file(str(file))
    module = next(name for name in sys.modules if name.endswith("_defers_at_once"))
    del sys.modules[module]
    loads = file.with_suffix(".loads")
    loads.write_text("")
    together = Barrier(6)

    def find(_: int) -> type:
        together.wait(10)
        return find_class(f"{module}.Mine", str(file))

    with ThreadPoolExecutor(6) as threads:
        found = set(threads.map(find, range(6)))
    assert ([cls.__name__ for cls in found], loads.read_text()) == (["Mine"], "x")
