"""Operators, checks, branching, sensors and transfers of common-sql, on sqlite and PostgreSQL, and the two hooks."""

from __future__ import annotations

from airflow.providers.common.sql.operators.generic_transfer import GenericTransfer
from airflow.providers.common.sql.operators.sql import (
    BranchSQLOperator,
    SQLCheckOperator,
    SQLColumnCheckOperator,
    SQLExecuteQueryOperator,
    SQLInsertRowsOperator,
    SQLTableCheckOperator,
    SQLThresholdCheckOperator,
    SQLValueCheckOperator,
)
from airflow.providers.common.sql.sensors.sql import SqlSensor
from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.providers.sqlite.hooks.sqlite import SqliteHook
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Asset, dag, task, task_group

TABLE = "provider_orders"
LOADED = Asset("postgres://warehouse:5432/db/public/provider_orders")
MAKE = [
    f"DROP TABLE IF EXISTS {TABLE}",
    f"CREATE TABLE {TABLE} (id INTEGER PRIMARY KEY, customer TEXT NOT NULL, amount REAL)",
    f"INSERT INTO {TABLE} VALUES (1, 'ann', 10.5), (2, 'ben', 20.0)",
]


@task_group
def checked(conn: str):
    column = SQLColumnCheckOperator(
        task_id="column",
        conn_id=conn,
        table=TABLE,
        column_mapping={"id": {"unique_check": {"equal_to": 0}, "null_check": {"equal_to": 0}}, "amount": {"min": {"geq_to": 0}}},
    )
    table = SQLTableCheckOperator(
        task_id="table", conn_id=conn, table=TABLE, checks={"rows": {"check_statement": "COUNT(*) = 3"}}
    )
    truth = SQLCheckOperator(task_id="truth", conn_id=conn, sql=f"SELECT COUNT(*) FROM {TABLE}")
    value = SQLValueCheckOperator(task_id="value", conn_id=conn, sql=f"SELECT SUM(amount) FROM {TABLE}", pass_value=60.5)
    limits = SQLThresholdCheckOperator(
        task_id="limits", conn_id=conn, sql=f"SELECT MAX(amount) FROM {TABLE}", min_threshold=1, max_threshold=100
    )
    column >> [table, truth, value, limits]


@dag(schedule=None, template_searchpath=None)
def provider_sql():
    for system in ("sqlite", "postgres"):
        conn = f"provider_{system}"

        @task_group(group_id=system)
        def on(conn: str = conn):
            make = SQLExecuteQueryOperator(task_id="make", conn_id=conn, sql=MAKE, split_statements=False)
            insert = SQLInsertRowsOperator(
                task_id="insert", conn_id=conn, table_name=TABLE, columns=["id", "customer", "amount"], rows=[[3, "cy", 30.0]]
            )
            read = SQLExecuteQueryOperator(
                task_id="read",
                conn_id=conn,
                sql=f"SELECT id, customer FROM {TABLE} WHERE id >= " + "{{ params.least }} ORDER BY id",
                params={"least": 2},
            )
            there = SqlSensor(task_id="there", conn_id=conn, sql=f"SELECT COUNT(*) FROM {TABLE} WHERE id = 3", poke_interval=0.2)
            branch = BranchSQLOperator(
                task_id="branch",
                conn_id=conn,
                sql=f"SELECT COUNT(*) > 2 FROM {TABLE}",
                follow_task_ids_if_true=f"{conn.removeprefix('provider_')}.many",
                follow_task_ids_if_false=f"{conn.removeprefix('provider_')}.few",
            )
            make >> insert >> [read, there]
            there >> checked(conn)
            there >> branch >> [EmptyOperator(task_id="many"), EmptyOperator(task_id="few")]

        on()

    transfer = GenericTransfer(
        task_id="transfer",
        source_conn_id="provider_sqlite",
        destination_conn_id="provider_postgres",
        sql=f"SELECT id + 100, customer, amount FROM {TABLE}",
        destination_table="provider_copies",
        preoperator=[
            "DROP TABLE IF EXISTS provider_copies",
            "CREATE TABLE provider_copies (id INTEGER PRIMARY KEY, customer TEXT, amount REAL)",
        ],
        trigger_rule="none_failed_min_one_success",
    )

    @task(outlets=[LOADED])
    def hooks() -> dict:
        source, target = SqliteHook("provider_sqlite"), PostgresHook("provider_postgres")
        target.insert_rows("provider_copies", [(200, "di", 1.0)], target_fields=["id", "customer", "amount"])
        target.insert_rows("provider_copies", [(200, "eve", 2.0)], ["id", "customer", "amount"], replace=True, replace_index="id")
        return {
            "sqlite": source.get_first(f"SELECT COUNT(*) FROM {TABLE}")[0],
            "postgres": [list(row) for row in target.get_records("SELECT id, customer FROM provider_copies ORDER BY id")],
            "primary": target.get_table_primary_key("provider_copies"),
            "uri": target.get_uri().partition("@")[2].rpartition("/")[0],
        }

    @task.sql(conn_id="provider_postgres")
    def decorated():
        return "SELECT COUNT(*) FROM provider_copies"

    last = transfer >> hooks()
    for system in ("sqlite", "postgres"):
        transfer.set_upstream(transfer.dag.get_task(f"{system}.many"))
    last >> decorated()


provider_sql()
