"""A task asks for a run of another DAG (DagRunTriggerException) and perhaps waits for its end.

For `outcomes.py`; the operator is `TriggerDagRunOperator`.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from trackside.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
    DagRunTriggerException,
    TaskDeferred,
)
from trackside.sdk.execution.records import to_wire
from trackside.sdk.execution.ti import RuntimeTaskInstance

log = logging.getLogger("airflow.task")


def trigger_run(wanted: DagRunTriggerException, ti: RuntimeTaskInstance, context: Any) -> None:
    """Create the run; with `wait_for_completion` return when it ended well.

    Raises AirflowSkipException or AirflowException if the run exists already, AirflowException if the DAG does not
    exist or the run failed, TaskDeferred to wait in the triggerer.
    """
    body = {
        "dag_id": wanted.trigger_dag_id,
        "run_id": wanted.dag_run_id,
        "logical_date": to_wire(wanted.logical_date),
        "conf": wanted.conf or {},
        "reset": wanted.reset_dag_run,
    }
    body.update({key: to_wire(value) if hasattr(value, "isoformat") else value for key, value in wanted.extra.items()})
    status, answer = ti.comms.request("POST", "/runs", body=body)
    detail = answer.get("detail") if isinstance(answer, dict) else answer
    if status == 409:
        if wanted.skip_when_already_exists:
            raise AirflowSkipException(f"the run {wanted.dag_run_id} of {wanted.trigger_dag_id} exists already")
        raise AirflowFailException(f"cannot trigger {wanted.trigger_dag_id}: {detail or 'the run exists already'}")
    if status == 404:
        raise AirflowNotFoundException(f"cannot trigger {wanted.trigger_dag_id}: {detail or 'there is no such DAG'}")
    if not 200 <= status < 300:
        raise AirflowException(f"cannot trigger {wanted.trigger_dag_id}: {detail} ({status})")
    log.info("Dag Run triggered successfully: %s of %s", wanted.dag_run_id, wanted.trigger_dag_id)
    ti.xcom_push("trigger_run_id", wanted.dag_run_id)  # at once: the operator's link reads it
    if wanted.wait_for_completion:
        _wait(wanted, ti)


def _wait(wanted: DagRunTriggerException, ti: RuntimeTaskInstance) -> None:
    if wanted.deferrable:
        raise _in_triggerer(wanted)
    while True:
        state = ti.get_dagrun_state(wanted.trigger_dag_id, wanted.dag_run_id)
        if state in wanted.failed_states:
            raise AirflowFailException(f"{wanted.trigger_dag_id} failed with failed state {state}")
        if state in wanted.allowed_states:
            log.info("%s finished with allowed state %s", wanted.trigger_dag_id, state)
            return
        log.info("Waiting for %s %s, which is %s", wanted.trigger_dag_id, wanted.dag_run_id, state)
        time.sleep(wanted.poke_interval)


def _in_triggerer(wanted: DagRunTriggerException) -> TaskDeferred:
    from trackside.sdk.triggers_external import DagStateTrigger

    trigger = DagStateTrigger(
        dag_id=wanted.trigger_dag_id,
        states=[*wanted.allowed_states, *wanted.failed_states],
        run_ids=[wanted.dag_run_id],
        poll_interval=wanted.poke_interval,
    )
    return TaskDeferred(trigger=trigger, method_name="execute_complete")
