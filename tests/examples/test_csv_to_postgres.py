"""Orders go from a CSV file into PostgreSQL through a connection; bad files are stopped before they touch the table."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.support.server import Server

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("warehouse")]  # one connection, one table


@pytest.fixture
def warehouse(trackside: Server):
    """The database of the test session, as the connection `warehouse`."""
    parts = conninfo_to_dict(os.environ["DATABASE_URL"])
    trackside.add_connection(
        "warehouse", conn_type="postgres", host=parts["host"], port=int(parts["port"]), schema=parts["dbname"],
        login=parts["user"], password=parts["password"],
    )  # fmt: skip
    tables = ("e2e_orders", "e2e_bad")
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as database:
        for table in tables:
            database.execute(f"DROP TABLE IF EXISTS {table}")
        yield database
        for table in tables:
            database.execute(f"DROP TABLE IF EXISTS {table}")


def test_the_sample_is_validated_loaded_and_checked_and_a_clear_changes_nothing(trackside: Server, warehouse, tmp_path: Path):
    conf = {"table": "e2e_orders", "data_folder": str(tmp_path)}
    run = trackside.run_dag("csv_to_postgres", conf)
    run_id = run["dag_run_id"]
    assert run["state"] == "success", trackside.describe("csv_to_postgres", run_id)
    result = trackside.value("csv_to_postgres", run_id, "check")
    assert (result["rows"], result["rejected"]) == (197, 3)
    once = warehouse.execute("SELECT count(*), sum(amount) FROM e2e_orders").fetchone()
    assert once[0] == 197 and str(once[1]) == result["total"]
    trackside.clear("csv_to_postgres", run_id, "load")
    assert trackside.wait_run("csv_to_postgres", run_id)["state"] == "success"
    assert warehouse.execute("SELECT count(*), sum(amount) FROM e2e_orders").fetchone() == once


def test_the_password_is_in_no_log(trackside: Server, warehouse, tmp_path: Path):
    run = trackside.run_dag("csv_to_postgres", {"table": "e2e_orders", "data_folder": str(tmp_path)})
    password = conninfo_to_dict(os.environ["DATABASE_URL"])["password"]
    for task in ("find_file", "validate", "load", "check"):
        assert password not in trackside.log_of("csv_to_postgres", run["dag_run_id"], task)


def test_a_file_with_too_many_bad_rows_touches_no_table(trackside: Server, warehouse, tmp_path: Path):
    bad = tmp_path / "bad.csv"
    bad.write_text("order_id,ordered_on,customer,amount\n1,2026-01-01,a,1.00\n2,never,b,2.00\n")
    run = trackside.run_dag("csv_to_postgres", {"csv": str(bad), "table": "e2e_bad", "data_folder": str(tmp_path)})
    run_id = run["dag_run_id"]
    assert run["state"] == "failed"
    assert trackside.states("csv_to_postgres", run_id)["load"] == "upstream_failed"
    assert "1 of 2 rows cannot be used" in trackside.wait_log("1 of 2 rows", "csv_to_postgres", run_id, "validate")
    assert warehouse.execute("SELECT to_regclass('e2e_bad')").fetchone() == (None,)
