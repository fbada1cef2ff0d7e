"""What to do about an error in a DAG file, where that is known.

For `parsing.py`: the sentence behind the exception's own words.
"""

from __future__ import annotations

import re

_NAMES = {
    "days_ago": "airflow.utils.dates is gone since Airflow 3; write pendulum.today('UTC').add(days=-n)",
    "SubDagOperator": "SubDAGs are gone since Airflow 3; use TaskGroup",
    "DummyOperator": "DummyOperator is called EmptyOperator now",
}


def hint_for(error: BaseException) -> str:
    """`. <sentence>` or nothing."""
    hint = _hint(error)
    return f". {hint}" if hint else ""


def _hint(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        top = error.name.partition(".")[0]
        if top not in ("airflow", "trackside"):
            return (
                f"Install the package where DAG files are parsed and tasks run, or put {top}.py into the DAGs folder"
            )
    if isinstance(error, ImportError | NameError | AttributeError):
        for name, sentence in _NAMES.items():
            if re.search(rf"\b{name}\b", str(error)):
                return sentence
    if isinstance(error, NameError) and getattr(error, "name", None) in ("DAG", "dag", "task"):
        return f"Add: from airflow.sdk import {error.name}"
    return ""
