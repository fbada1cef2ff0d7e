"""DAGs of an invented shop, for the pictures of the guide: a daily load with a bad day, two reports driven by its asset, a
delivery that waits for its pool, prices that wait for a person. What they take is asked of a clock, nothing is read or written."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Asset, Param, TaskGroup, dag, task

ORDERS = Asset("orders.daily", uri="s3://shop/orders/daily", group="Sales")
REVENUE = Asset("revenue.monthly", uri="s3://shop/revenue/monthly", group="Sales")
STOCK = Asset("stock.now", uri="s3://shop/stock/now", group="Logistics")
REGIONS = ["north", "east", "south", "west"]
START = datetime(2026, 1, 1, tzinfo=UTC)
RELEASE = Path(__file__).with_name("release")
"""As long as this file is missing, `count_shelves` is busy: the pictures show it running."""


@dag(schedule="0 6 * * *", start_date=START, catchup=False, max_active_runs=3, tags=["sales", "tier-1"],
     description="Orders of the day from four regions, checked and published")  # fmt: skip
def orders_daily():
    @task
    def list_regions() -> list[str]:
        return REGIONS

    with TaskGroup("load"):

        @task
        def read(region: str, logical_date=None) -> int:
            day = logical_date.day if logical_date else 1
            print(f"reading orders of {region}")
            time.sleep(0.2 + day % 4 / 10)
            return 1000 + len(region) * day

        @task
        def merge(counts) -> int:
            total = sum(counts)
            print(f"{total} orders in all")
            return total

        merged = merge(read.expand(region=list_regions()))

    @task
    def check(total: int, logical_date=None, ti=None) -> int:
        print("::group::Rules")
        for rule in ("ids are unique", "amounts are positive", "customers exist"):
            print(f"rule: {rule}")
        print("::endgroup::")
        if logical_date and logical_date.day % 9 == 3 and ti.try_number == 1:
            raise ValueError("41 of 4,208 orders have no customer. See s3://shop/orders/rejected.csv")
        return total

    @task(outlets=[ORDERS])
    def publish(total: int) -> None:
        print(f"{total} orders published")

    @task(trigger_rule="all_done")
    def tell_sales() -> None:
        print("a message to #sales")

    checked = check(merged)
    publish(checked)
    checked >> tell_sales()


@dag(schedule=[ORDERS], start_date=START, catchup=False, tags=["sales"], description="Revenue of the month after each load")
def revenue_report():
    @task
    def sum_up() -> dict:
        time.sleep(0.3)
        return {"month": "2026-11", "revenue": 184213.5, "orders": 4167}

    @task(outlets=[REVENUE])
    def write(report: dict) -> None:
        print(report)

    write(sum_up())


@dag(schedule=None, start_date=START, catchup=False, tags=["logistics"], description="Counts shelves, one delivery at a time",
     params={"warehouse": Param("Hamburg", type="string", enum=["Hamburg", "Lyon", "Turin"], description="Where shelves are counted."),
             "recount": Param(False, type="boolean", description="Count shelves again that were counted today.")})  # fmt: skip
def stock_sync():
    @task(pool="scanners")
    def count_shelves(params: dict | None = None) -> int:
        shelf = 0
        while not RELEASE.exists():
            shelf += 1
            print(f"shelf {shelf} of {params['warehouse']} counted")
            time.sleep(2)
        return shelf

    @task(outlets=[STOCK])
    def save(shelves: int) -> None:
        print(f"{shelves} shelves saved")

    save(count_shelves())


@dag(schedule=None, start_date=START, catchup=False, tags=["prices"], description="New prices, after somebody looked at them")
def release_prices():
    @task
    def propose() -> int:
        return 312

    @task
    def release() -> None:
        print("prices are live")

    ask = ApprovalOperator(task_id="approve", subject="Release 312 new prices?", body="17 of them rise by more than 10 %.")
    propose() >> ask >> release()


orders_daily()
revenue_report()
stock_sync()
release_prices()
