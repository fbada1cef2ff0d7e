"""Recorded REST answers of the real Airflow, compared call by call with a running Trackside.

Like the DAG cases they lie beside the checkout. At least three quarters of the families served so far must agree; the
figure only ever goes up, and the differences that remain are printed.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conformance.test_airflow_cases import FOLDER, check, empty_server  # noqa: F401  (a fixture)
from tests.support import server

FAMILIES = (
    "^(auth|dags|dag_runs|task_instances|trigger|tries|logs|xcom|pools|variables|connections|clear|run_patch|run_clear|run_delete|import_errors|"
    "dag_sources|dag_versions|monitor)/"
)
AGREE = 0.75
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("conformance"),
    pytest.mark.skipif(
        not (FOLDER / "rest" / "rest_oracle.py").exists(), reason=f"no REST cases in {FOLDER}/rest; see TRACKSIDE_CONFORMANCE"
    ),
]


@pytest.mark.timeout(1200)
def test_rest_answers_agree_with_airflows(empty_server: server.Server, tmp_path: Path):  # noqa: F811
    _, lines = check(empty_server, FOLDER / "rest" / "rest_oracle.py", "--no-client", "-k", FAMILIES, out=tmp_path, seconds=1180)
    found = re.search(r"rest: (\d+)/(\d+) cases agree", "\n".join(lines))
    assert found, "\n".join(lines[-20:])
    agree, total = int(found[1]), int(found[2])
    print("\n".join(line for line in lines if line.startswith(("FAIL", "     ", "rest:"))))
    assert agree >= AGREE * total, f"{agree} of {total} agree"
