"""What tasks of a test ask of the server, answered from this process: XComs, states, runs of other DAGs.

For `ledger`. Connections and variables come from the files that were named, and, before anything is asked here, from the
environment (`AIRFLOW_CONN_…`, `AIRFLOW_VAR_…`).
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from trackside.core.messages import RunRecord, XComRecord
from trackside.sdk import serde
from trackside.sdk.execution.comms import MemoryComms

if TYPE_CHECKING:
    from trackside.sdk.dag import DAG
    from trackside.sdk.inprocess.ledger import Ledger

log = logging.getLogger("trackside.test")


class LocalServer(MemoryComms):
    """`MemoryComms` that knows the run in progress and can run other DAGs."""

    def __init__(
        self,
        *,
        connections: dict[str, dict[str, Any]] | None = None,
        variables: dict[str, str] | None = None,
        dags: Mapping[str, DAG] | None = None,
    ) -> None:
        super().__init__(connections=connections, variables=variables)
        self.dags = dict(dags or {})
        self.ledgers: list[Ledger] = []
        self._of_task: dict[tuple[str, str, str, str], dict[int, XComRecord]] = defaultdict(dict)
        """(dag, run, task, key) → map index → XCom: a task that reads the results of thousands must not search them all."""

    def request(self, method: str, path: str, *, params: dict[str, Any] | None = None, body: Any = None) -> tuple[int, Any]:
        """See `Comms.request`. The lock is not held while another DAG runs: its tasks ask, too."""
        if (method, path) == ("POST", "/runs"):
            return self._post_runs("", params or {}, body)
        return super().request(method, path, params=params, body=body)

    # XComs --------------------------------------------------------------------------------------------------------
    def store(self, records: Iterable[dict[str, Any]], own: tuple[str, str, str, int] | None = None) -> None:
        """See `MemoryComms.store`."""
        dag_id, run_id, task_id, map_index = own or self._own
        for item in records:
            record = XComRecord.from_dict({**item, "dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index})
            self._of_task[dag_id, run_id, task_id, record.key][map_index] = record

    def publish(self, dag_id: str, run_id: str, task_id: str, value: Any) -> None:
        """A return value given by hand."""
        length = len(value) if isinstance(value, list | tuple | dict) else None
        self.store([XComRecord("return_value", serde.serialize(value), length=length).to_dict()], (dag_id, run_id, task_id, -1))

    def wipe(self, own: tuple[str, str, str, int]) -> None:
        """Forget what an earlier try published."""
        for address, found in self._of_task.items():
            if address[:3] == own[:3]:
                found.pop(own[3], None)

    def records(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> list[XComRecord]:
        """XComs of all indexes of a task, by index."""
        found = self._of_task.get((dag_id, run_id, task_id, key), {})
        return [found[index] for index in sorted(found)]

    def _get_xcoms(self, rest: str, params: dict[str, Any], body: Any) -> tuple[int, Any]:
        runs = [params["run_id"]]
        if params.get("include_prior_dates"):
            runs += [ledger.record.run_id for ledger in reversed(self.ledgers) if ledger.record.run_id not in runs]
        found: list[XComRecord | None] = []
        for address in ((params["dag_id"], run, params["task_id"], params["key"]) for run in runs):
            if (index := params.get("map_index")) is None:
                found += self.records(*address)
            else:
                found.append(self._of_task.get(address, {}).get(int(index)))
        return 200, {"xcoms": [r.to_dict() for r in found if r is not None]}

    def _delete_xcoms(self, key: str, params: dict[str, Any], body: Any) -> tuple[int, Any]:
        dag_id, run_id, task_id, map_index = self._own
        self._of_task[dag_id, run_id, task_id, key].pop(map_index, None)
        return 200, {}

    # States -------------------------------------------------------------------------------------------------------
    def _get_task_instances(self, what: str, params: dict[str, Any], body: Any) -> tuple[int, Any]:
        self.task_instances = [row for ledger in self.ledgers for row in ledger.described()]
        return super()._get_task_instances(what, params, body)

    def _get_runs(self, what: str, params: dict[str, Any], body: Any) -> tuple[int, Any]:
        self.runs = [{**ledger.record.to_dict(), "state": str(ledger.record.state)} for ledger in self.ledgers]
        return super()._get_runs(what, params, body)

    # Runs of other DAGs -------------------------------------------------------------------------------------------
    def _post_runs(self, rest: str, params: dict[str, Any], body: Any) -> tuple[int, Any]:
        from trackside.sdk.inprocess.ledger import Ledger

        dag = self.dags.get(body["dag_id"])
        if dag is None:
            known = ", ".join(sorted(self.dags))
            return 404, {"detail": f"DAG {body['dag_id']!r} is not known to this test, which knows {known}; test it with its DAGs folder"}
        if any((ledger.record.dag_id, ledger.record.run_id) == (body["dag_id"], body["run_id"]) for ledger in self.ledgers):
            return 409, {"detail": "the run exists already"}
        if body["dag_id"] in {ledger.record.dag_id for ledger in self.ledgers if ledger.record.state == "running"}:
            log.warning("DAG %s triggers itself; a test does not run it a second time", body["dag_id"])
            return 200, {"run_id": body["run_id"]}
        date = body.get("logical_date")
        record = RunRecord(
            body["dag_id"], body["run_id"], "operator_triggered", logical_date=date, data_interval_start=date, data_interval_end=date,
            run_after=date, start_date=date, conf=body.get("conf") or {}, triggered_by="operator",
        )  # fmt: skip
        log.info("running the triggered DAG %s, run %s", dag.dag_id, record.run_id)
        before = self._own
        Ledger(dag, record, self).run()
        self._own = before
        return 200, {"run_id": body["run_id"]}
