"""Orders from a CSV file into PostgreSQL: validate, load, check.

Needs a connection called `warehouse` (Administration → Connections, or `AIRFLOW_CONN_WAREHOUSE=postgresql://…`). Rows that
cannot be used go to a file of their own; too many of them stop the run before anything is loaded. Loading is one
transaction and replaces rows with the same key, so that every task may run twice.
"""

from __future__ import annotations

import csv
import re
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path

from airflow.sdk import BaseHook, Param, dag, task

COLUMNS = ("order_id", "ordered_on", "customer", "amount")


def folder_of(params: dict, run_id: str) -> Path:
    """The folder of this run's files; ids become safe names."""
    folder = Path(params["data_folder"]).expanduser() / re.sub(r"[^A-Za-z0-9_.+-]", "_", run_id)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def connect():
    """A connection of psycopg to the warehouse. The password goes in as an argument, never into a command line or log."""
    import psycopg

    found = BaseHook.get_connection("warehouse")
    return psycopg.connect(
        host=found.host,
        port=found.port or 5432,
        dbname=found.schema or None,
        user=found.login or None,
        password=found.password or None,
        connect_timeout=10,
    )


def write_sample(path: Path) -> None:
    """200 orders, three of them unusable."""
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(COLUMNS)
        for n in range(1, 201):
            ordered_on: object = date(2026, 1, 1) + timedelta(days=n % 90)
            amount: object = Decimal(100 * n + 99) / 100
            if n == 50:
                amount = "a lot"
            if n == 100:
                ordered_on = "yesterday"
            out.writerow(("" if n == 150 else n, ordered_on, f"customer {n % 17}", amount))


def usable(row: dict) -> tuple[int, date, str, Decimal]:
    """The row's values, or ValueError with what is wrong."""
    if not (row["order_id"] or "").isdecimal():
        raise ValueError("order_id is no number")
    try:
        amount = Decimal(row["amount"])
    except (InvalidOperation, TypeError):
        raise ValueError("amount is no number") from None
    if not amount.is_finite() or amount < 0:
        raise ValueError("amount must be 0 or more")
    return int(row["order_id"]), date.fromisoformat(row["ordered_on"] or ""), row["customer"] or "", amount


@dag(
    schedule=None,
    catchup=False,
    tags=["example", "database"],
    params={
        "csv": Param("", type="string", description="A file with the columns order_id, ordered_on, customer, amount; empty: a sample."),
        "table": Param("orders", type="string", pattern="^[a-z_][a-z0-9_]{0,62}$", description="Table to load into."),
        "max_rejected": Param(0.05, type="number", minimum=0, maximum=1, description="Share of unusable rows that is still fine."),
        "data_folder": Param("~/airflow-data/csv_to_postgres", type="string", minLength=1, description="Where files go."),
    },
    doc_md=__doc__,
)
def csv_to_postgres():
    @task
    def find_file(params: dict | None = None, run_id: str | None = None) -> str:
        if params["csv"]:
            return str(Path(params["csv"]).expanduser().resolve(strict=True))
        sample = folder_of(params, run_id) / "orders.csv"
        write_sample(sample)
        return str(sample)

    @task
    def validate(source: str, params: dict | None = None, run_id: str | None = None) -> dict:
        folder = folder_of(params, run_id)
        good, bad, total = 0, 0, Decimal(0)
        clean, rejected = folder / "clean.csv", folder / "rejected.csv"
        with Path(source).open(newline="") as file, clean.open("w", newline="") as fine, rejected.open("w", newline="") as refused:
            rows = csv.DictReader(file)
            if missing := set(COLUMNS) - set(rows.fieldnames or ()):
                raise ValueError(f"{source} has no column {', '.join(sorted(missing))}")
            to_load, to_show = csv.writer(fine), csv.writer(refused)
            to_show.writerow(("line", "reason"))
            for row in rows:
                try:
                    values = usable(row)
                except ValueError as e:
                    to_show.writerow((rows.line_num, e))
                    bad += 1
                else:
                    to_load.writerow(values)
                    good, total = good + 1, total + values[3]
        print(f"{good} rows can be used, {bad} cannot: see {rejected}")
        if bad > params["max_rejected"] * (good + bad):
            raise ValueError(
                f"{bad} of {good + bad} rows cannot be used, more than the {params['max_rejected']:.0%} allowed: see {rejected}"
            )
        return {"file": str(clean), "rows": good, "rejected": bad, "total": str(total)}

    @task(retries=2, retry_delay=timedelta(seconds=5))
    def load(validated: dict, params: dict | None = None) -> int:
        from psycopg import sql

        table = sql.Identifier(params["table"])
        with connect() as database, database.cursor() as cursor:
            cursor.execute(
                sql.SQL(
                    "CREATE TABLE IF NOT EXISTS {} (order_id bigint PRIMARY KEY, ordered_on date NOT NULL, "
                    "customer text NOT NULL, amount numeric(12, 2) NOT NULL)"
                ).format(table)
            )
            cursor.execute(sql.SQL("CREATE TEMPORARY TABLE incoming (LIKE {}) ON COMMIT DROP").format(table))
            with Path(validated["file"]).open("rb") as file, cursor.copy("COPY incoming FROM STDIN (FORMAT csv)") as copy:
                while chunk := file.read(65536):
                    copy.write(chunk)
            cursor.execute(
                sql.SQL(
                    "INSERT INTO {} SELECT DISTINCT ON (order_id) * FROM incoming ON CONFLICT (order_id) DO UPDATE SET "
                    "ordered_on = excluded.ordered_on, customer = excluded.customer, amount = excluded.amount"
                ).format(table)
            )
            print(f"{cursor.rowcount} rows in {params['table']}")
            return cursor.rowcount

    @task
    def check(validated: dict, loaded: int, params: dict | None = None) -> dict:
        from psycopg import sql

        with Path(validated["file"]).open(newline="") as file:
            ids = sorted({int(row[0]) for row in csv.reader(file)})
        query = sql.SQL("SELECT count(*), coalesce(sum(amount), 0) FROM {} WHERE order_id = ANY(%s)")
        with connect() as database:
            row = database.execute(query.format(sql.Identifier(params["table"])), (ids,)).fetchone()
        rows, total = row or (0, 0)
        if rows != loaded:
            raise ValueError(f"{loaded} rows were loaded, {rows} are there.")
        if len(ids) == validated["rows"] and Decimal(validated["total"]) != total:
            raise ValueError(f"The file adds up to {validated['total']}, the table to {total}.")
        print(f"{rows} rows, {total} in total: as in the file.")
        return {"rows": rows, "total": str(total), "rejected": validated["rejected"]}

    validated = validate(find_file())
    check(validated, load(validated))


csv_to_postgres()
