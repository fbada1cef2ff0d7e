"""TriggerDagRunOperator: starts a run of another DAG, and may wait for its end.

Next door: `execution/triggering.py` does the asking; the operator only says what it wants.
"""

from __future__ import annotations

import datetime as dt
import json
import secrets
from collections.abc import Collection, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

from trackside.sdk.arguments import DEFAULT_DEFERRABLE
from trackside.sdk.enums import DagRunState
from trackside.sdk.exceptions import AirflowException, AirflowFailException, DagRunTriggerException
from trackside.sdk.execution.records import DagRunType
from trackside.sdk.execution.xcom import XCom
from trackside.sdk.links import BaseOperatorLink
from trackside.sdk.operator import BaseOperator
from trackside.sdk.types import NOTSET, ArgNotSet, is_arg_set

XCOM_RUN_ID = "trigger_run_id"


class TriggerDagRunLink(BaseOperatorLink):
    """To the run that was started."""

    name = "Triggered DAG"  # type: ignore[assignment]

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Page of the run."""
        run_id = XCom.get_value(ti_key=ti_key, key=XCOM_RUN_ID) or operator.trigger_run_id
        if not run_id:
            return ""
        return f"/dags/{quote(operator.trigger_dag_id, safe='')}/runs/{quote(run_id, safe='')}"


class DagIsPaused(AirflowException):
    """Dag X is paused: unpause it, or leave fail_when_dag_is_paused away."""

    def __init__(self, dag_id: str) -> None:
        super().__init__(dag_id)
        self.dag_id = dag_id

    def __str__(self) -> str:
        return f"Dag {self.dag_id} is paused"


class TriggerDagRunOperator(BaseOperator):
    """Starts a run of `trigger_dag_id`.

    `logical_date`: not given means now, or none if `run_after` is given; None means none. An existing run of the same id
    fails the task, skips it (`skip_when_already_exists`) or is started over (`reset_dag_run`). `poke_interval`: seconds
    between looks.
    """

    template_fields: Collection[str] = (
        *("trigger_dag_id", "trigger_run_id", "logical_date", "conf", "wait_for_completion", "skip_when_already_exists"),
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"conf": "py"}
    ui_color = "#ffefeb"
    operator_extra_links: Collection[Any] = (TriggerDagRunLink(),)

    def __init__(
        self,
        *,
        trigger_dag_id: str,
        trigger_run_id: str | None = None,
        conf: dict[str, Any] | str | None = None,
        logical_date: str | dt.datetime | ArgNotSet | None = NOTSET,
        run_after: str | dt.datetime | ArgNotSet | None = NOTSET,
        note: str | None = None,
        reset_dag_run: bool = False,
        wait_for_completion: bool = False,
        poke_interval: int = 60,
        allowed_states: Sequence[str] | None = None,
        failed_states: Sequence[str] | None = None,
        skip_when_already_exists: bool = False,
        fail_when_dag_is_paused: bool = False,
        deferrable: bool = DEFAULT_DEFERRABLE,
        openlineage_inject_parent_info: bool = True,  # there is no lineage to add
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.trigger_dag_id, self.trigger_run_id, self.conf = trigger_dag_id, trigger_run_id, conf
        self.logical_date, self.run_after, self.note = logical_date, _check_moment("run_after", run_after), note
        self.reset_dag_run, self.wait_for_completion = reset_dag_run, wait_for_completion
        self.poke_interval, self.deferrable = poke_interval, deferrable
        self.allowed_states = _states(allowed_states) if allowed_states else ["success"]
        self.failed_states = ["failed"] if failed_states is None else _states(failed_states)
        self.skip_when_already_exists = skip_when_already_exists
        self.fail_when_dag_is_paused = fail_when_dag_is_paused

    def execute(self, context: Any) -> None:
        """Say what is wanted; `DagRunTriggerException` carries it out."""
        _check_moment("logical_date", self.logical_date)
        now, later = dt.datetime.now(dt.UTC), is_arg_set(self.run_after)
        day = _moment(self.logical_date) if is_arg_set(self.logical_date) else (None if later else now)
        after = _moment(self.run_after) if later else None
        try:
            conf = json.loads(self.conf) if isinstance(self.conf, str) and self.conf else self.conf
            json.dumps(conf)
        except (TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"conf parameter should be JSON Serializable: {self.conf}") from error
        if self.fail_when_dag_is_paused and context["ti"].get_dag(self.trigger_dag_id).is_paused:
            raise DagIsPaused(self.trigger_dag_id)
        # as Airflow has it: two runs without logical date at one moment need different names
        suffix = (after or day or now).isoformat() + ("" if day else f"_{secrets.token_hex(4)}")
        self.trigger_run_id = str(self.trigger_run_id or DagRunType.MANUAL.generate_run_id(suffix=suffix))
        extra: dict[str, Any] = {"run_after": after, "note": self.note or None}
        raise DagRunTriggerException(
            trigger_dag_id=self.trigger_dag_id,
            dag_run_id=self.trigger_run_id,
            conf=conf,  # type: ignore[arg-type]
            logical_date=day,
            reset_dag_run=self.reset_dag_run,
            skip_when_already_exists=self.skip_when_already_exists,
            wait_for_completion=self.wait_for_completion,
            allowed_states=self.allowed_states,
            failed_states=self.failed_states,
            poke_interval=self.poke_interval,
            deferrable=self.deferrable,
            **{key: value for key, value in extra.items() if value is not None},
        )

    def execute_complete(self, context: Any, event: Any) -> None:
        """Judge the end of the run that was waited for in the triggerer. Raises AirflowFailException."""
        found = event[1]
        for run_id in found["run_ids"]:
            state = found.get(run_id)
            if state in self.failed_states:
                raise AirflowFailException(f"{self.trigger_dag_id} failed with failed state {state}")
            self.log.info("%s finished with allowed state %s", self.trigger_dag_id, state)


def _states(names: Sequence[str]) -> list[str]:
    """Raises ValueError for what is no state of a run."""
    return [str(DagRunState(name)) for name in names]


def _check_moment(name: str, value: Any) -> Any:
    if not is_arg_set(value) or value is None or isinstance(value, str | dt.datetime):
        return value
    raise TypeError(f"Expected str, datetime.datetime, or None for parameter '{name}'. Got {type(value).__name__}")


def _moment(value: Any) -> dt.datetime | None:
    if value is None or isinstance(value, dt.datetime):
        return value
    import pendulum

    parsed = pendulum.parse(str(value))
    assert isinstance(parsed, dt.datetime)
    return parsed
