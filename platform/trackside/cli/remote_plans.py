"""Commands for a server, continued: `trackside backfill create|list|pause|unpause|cancel`, `trackside assets list|events|materialize`.

For people and scripts; next door, `remote` has runs and settings.
"""

from __future__ import annotations

import argparse

from trackside.cli import output, values
from trackside.cli.connecting import connected, remote_word, table
from trackside.cli.words import Verbs, group

EVENT = ("id", "timestamp", "asset_id", "uri", "source_dag_id", "source_task_id", "source_run_id", "partition_key")


def backfill_create(given: argparse.Namespace, rest: list[str]) -> int:
    """Runs for a range of days; with --dry-run only which ones."""
    body = {
        "dag_id": given.dag_id,
        "from_date": values.moment(given.from_date).isoformat(),
        "to_date": values.moment(given.to_date).isoformat(),
        "run_backwards": given.backwards,
        "reprocess_behavior": given.reprocess,
        "max_active_runs": given.max_active_runs,
        "dag_run_conf": values.as_object(given.conf, "--conf"),
    }
    with connected() as client:
        if given.dry_run:
            found = client.call("POST", "/api/v2/backfills/dry_run", json=body)["backfills"]
            column = "partition_key" if any(slot["partition_key"] for slot in found) else "logical_date"
            output.show(found, (column,), given.output, empty="It would make no run.")
        else:
            output.show_one(client.call("POST", "/api/v2/backfills", json=body), given.output)
    return 0


def backfill_list(given: argparse.Namespace, rest: list[str]) -> int:
    """Backfills of a DAG."""
    with connected() as client:
        return table(client.backfills(given.dag_id), given)


def backfill_change(given: argparse.Namespace, rest: list[str]) -> int:
    """Pause, unpause or cancel."""
    with connected() as client:
        output.show_one(client.call("PUT", f"/api/v2/backfills/{given.id}/{given.change}"), given.output)
    return 0


def assets_list(given: argparse.Namespace, rest: list[str]) -> int:
    """Assets."""
    with connected() as client:
        return table(client.assets(given.pattern), given)


def assets_show(given: argparse.Namespace, rest: list[str]) -> int:
    """One asset."""
    with connected() as client:
        output.show_one(client.asset(given.id), given.output)
    return 0


def assets_events(given: argparse.Namespace, rest: list[str]) -> int:
    """Newest events, of one asset or of all."""
    asked = {} if given.id is None else {"asset_id": given.id}
    with connected() as client:
        return table(client.pages("/assets/events", "asset_events", EVENT, limit=given.limit, order_by="-timestamp", **asked), given)


def assets_materialize(given: argparse.Namespace, rest: list[str]) -> int:
    """A run of the DAG that writes the asset."""
    with connected() as client:
        output.show_one(client.call("POST", f"/api/v2/assets/{given.id}/materialize", json={}), given.output)
    return 0


def add_to(verbs: Verbs) -> None:
    """The words of these commands."""
    backfill = group(verbs, "backfill", "backfills: runs for past days")
    one = remote_word(backfill, "create", backfill_create, "make the runs of a range of days", "dag_id")
    one.add_argument("--from-date", required=True, help="first moment, such as 2026-01-01 or 2026-01-01T06:00+01:00 (UTC)")
    one.add_argument("--to-date", required=True, help="last moment")
    one.add_argument("-c", "--conf", help="a JSON object, or @file")
    one.add_argument("--reprocess", choices=("none", "failed", "completed"), default="none", help="runs there are already that run again")
    one.add_argument("--max-active-runs", type=int, default=10)
    one.add_argument("--backwards", action="store_true", help="newest first")
    one.add_argument("--dry-run", action="store_true", help="only say which runs")
    remote_word(backfill, "list", backfill_list, "backfills of a DAG", "dag_id")
    for name in ("pause", "unpause", "cancel"):
        one = remote_word(backfill, name, backfill_change, f"{name} a backfill")
        one.add_argument("id", type=int)
        one.set_defaults(change=name)
    assets = group(verbs, "assets", "assets")
    one = remote_word(assets, "list", assets_list, "all assets")
    one.add_argument("--pattern", help="part of the name; %% and _ are wildcards")
    remote_word(assets, "show", assets_show, "an asset with its producers and consumers").add_argument("id", type=int)
    one = remote_word(assets, "events", assets_events, "newest events of an asset, or of all")
    one.add_argument("id", type=int, nargs="?")
    one.add_argument("--limit", type=int, default=25)
    remote_word(assets, "materialize", assets_materialize, "run the DAG that writes an asset").add_argument("id", type=int)
