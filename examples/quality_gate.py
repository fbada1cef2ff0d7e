"""A quality gate on real files: measure Python sources, then let them pass, or say what is wrong with them.

Reads Python's own standard library if no folder is given. Shows a short circuit (nothing to measure: the rest is
skipped), a task group, mapped tasks (one per package), a branch, and the trigger rules of the tasks after it.
"""

from __future__ import annotations

import ast
import json
import re
import sysconfig
from pathlib import Path

from airflow.sdk import Label, Param, TaskGroup, dag, task

TRIGGER_AFTER_BRANCH = "none_failed_min_one_success"


def folder_of(params: dict, run_id: str) -> Path:
    """The folder of this run's files; ids become safe names."""
    folder = Path(params["data_folder"]).expanduser() / re.sub(r"[^A-Za-z0-9_.+-]", "_", run_id)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def sources_of(params: dict) -> Path:
    """The folder to measure."""
    return Path(params["folder"] or sysconfig.get_path("stdlib")).expanduser()


def measure_file(path: Path) -> dict:
    """Lines, functions and how many have a docstring; files that are no Python of this version count as broken."""
    text = path.read_text(errors="replace")
    numbers = {"files": 1, "lines": text.count("\n"), "functions": 0, "documented": 0, "broken": 0}
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return {**numbers, "broken": 1}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            numbers["functions"] += 1
            numbers["documented"] += ast.get_docstring(node) is not None
    return numbers


@dag(
    schedule=None,
    catchup=False,
    tags=["example", "branching"],
    params={
        "folder": Param("", type="string", description="Python sources; empty: the standard library of this Python."),
        "packages": Param(
            ["json", "email", "logging", "unittest"],
            type="array",
            items={"type": "string", "pattern": r"^\w+$"},
            description="Packages in it.",
        ),
        "min_documented": Param(0.3, type="number", minimum=0, maximum=1, description="Share of public functions with a docstring."),
        "data_folder": Param("~/airflow-data/quality_gate", type="string", minLength=1, description="Where files go."),
    },
    doc_md=__doc__,
)
def quality_gate():
    @task
    def list_packages(params: dict | None = None) -> list[str]:
        found = [name for name in params["packages"] if (sources_of(params) / name).is_dir()]
        print(f"{len(found)} of {len(params['packages'])} packages are in {sources_of(params)}")
        return found

    @task.short_circuit(ignore_downstream_trigger_rules=False)
    def anything_to_measure(packages: list[str]) -> bool:
        return bool(packages)

    packages = list_packages()
    with TaskGroup("measure") as measure:

        @task
        def one_package(package: str, params: dict | None = None) -> dict:
            numbers = {"files": 0, "lines": 0, "functions": 0, "documented": 0, "broken": 0}
            for path in sorted((sources_of(params) / package).rglob("*.py")):
                for name, number in measure_file(path).items():
                    numbers[name] += number
            print(package, numbers)
            return {"package": package, **numbers}

        @task
        def add_up(parts) -> dict:
            parts = list(parts)
            total = {name: sum(part[name] for part in parts) for name in ("files", "lines", "functions", "documented", "broken")}
            total["share"] = round(total["documented"] / max(1, total["functions"]), 4)
            total["packages"] = len(parts)
            return total

        numbers = add_up(one_package.expand(package=packages))

    @task.branch
    def gate(numbers: dict, params: dict | None = None) -> str:
        print(f"{numbers['share']:.0%} documented, at least {params['min_documented']:.0%} wanted")
        return "publish" if numbers["share"] >= params["min_documented"] else "explain"

    @task
    def publish(numbers: dict, params: dict | None = None, run_id: str | None = None) -> str:
        path = folder_of(params, run_id) / "quality.json"
        path.write_text(json.dumps(numbers, indent=2))
        return str(path)

    @task
    def explain(numbers: dict, params: dict | None = None, run_id: str | None = None) -> str:
        path = folder_of(params, run_id) / "concerns.txt"
        missing = numbers["functions"] - numbers["documented"]
        path.write_text(f"{missing} of {numbers['functions']} public functions have no docstring.\n")
        return str(path)

    @task(trigger_rule=TRIGGER_AFTER_BRANCH)
    def sum_up(passed: str | None, concerns: str | None) -> str:
        words = f"passed: {passed}" if passed else f"not passed: {concerns}"
        print(words)
        return words

    @task(trigger_rule="all_done")
    def always_last() -> None:
        print("This runs whatever happened before.")

    something = anything_to_measure(packages)
    something >> measure
    decision = gate(numbers)
    passed, concerns = publish(numbers), explain(numbers)
    decision >> Label("documented enough") >> passed
    decision >> Label("too little") >> concerns
    sum_up(passed, concerns) >> always_last()


quality_gate()
