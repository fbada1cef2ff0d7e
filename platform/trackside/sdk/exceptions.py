"""Every exception and warning a DAG file or operator may name, for DAG authors and the execution half of the SDK.

Names and class relations are those of `airflow.exceptions` and `airflow.sdk.exceptions` (through the import bridge both
are this module). Those that end a try on purpose are translated to outcomes in `sdk/execution/outcomes.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from enum import Enum
from http import HTTPStatus
from typing import Any


class AirflowException(Exception):
    """Base of errors raised by operators and by the SDK; raised in a task it fails the try (and a retry follows)."""

    status_code = HTTPStatus.INTERNAL_SERVER_ERROR


class AirflowBadRequest(AirflowException):
    """The request cannot be handled: fix its values and send it again."""

    status_code = HTTPStatus.BAD_REQUEST


class AirflowNotFoundException(AirflowException):
    """The named thing does not exist: create it or correct its name."""

    status_code = HTTPStatus.NOT_FOUND


class AirflowConfigException(AirflowException):
    """A configuration value is missing or wrong."""


class AirflowOptionalProviderFeatureException(AirflowException):
    """A provider's optional dependency is not installed: install the extra the message names."""


class AirflowInternalRuntimeError(BaseException):
    """Something that cannot happen did; not caught by `except Exception`."""


class AirflowRuntimeError(Exception):
    """The server refused or failed a call made by task code."""


class AirflowTimeoutError(AirflowRuntimeError):
    """A call to the server took too long."""


class ErrorType(Enum):
    """Kinds of refusals a call from task code can meet."""

    CONNECTION_NOT_FOUND = "CONNECTION_NOT_FOUND"
    VARIABLE_NOT_FOUND = "VARIABLE_NOT_FOUND"
    XCOM_NOT_FOUND = "XCOM_NOT_FOUND"
    ASSET_NOT_FOUND = "ASSET_NOT_FOUND"
    DAGRUN_ALREADY_EXISTS = "DAGRUN_ALREADY_EXISTS"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    GENERIC_ERROR = "GENERIC_ERROR"
    API_SERVER_ERROR = "API_SERVER_ERROR"


# Ways for a task to end its try on purpose --------------------------------------------------------------------------


class AirflowSkipException(AirflowException):
    """Raise in a task to mark it skipped."""


class AirflowFailException(AirflowException):
    """Raise in a task to mark it failed without any retry."""


class AirflowSensorTimeout(AirflowException):
    """A sensor waited longer than its `timeout`: failed without retry (or skipped with soft_fail)."""


class AirflowPokeFailException(AirflowException):
    """A sensor's poke failed for good."""


class AirflowTaskTimeout(BaseException):
    """The task ran longer than its `execution_timeout`; not caught by `except Exception`."""


class AirflowTaskTerminated(BaseException):
    """The task process was asked to stop (SIGTERM)."""


class AirflowRescheduleException(AirflowException):
    """A sensor gives its slot back until `reschedule_date` (an aware datetime)."""

    def __init__(self, reschedule_date: datetime) -> None:
        super().__init__(f"rescheduled to {reschedule_date.isoformat()}")
        self.reschedule_date = reschedule_date


class TaskDeferred(BaseException):
    """The task hands its wait to a trigger and goes on in `method_name` when the trigger fires.

    `timeout`: longest wait (timedelta, int or float seconds, or None).
    """

    def __init__(
        self,
        *,
        trigger: Any,
        method_name: str,
        kwargs: dict[str, Any] | None = None,
        timeout: timedelta | int | float | None = None,
        queue: str | None = None,
    ) -> None:
        super().__init__()
        self.trigger = trigger
        self.method_name = method_name
        self.kwargs = kwargs
        self.queue = queue
        if isinstance(timeout, int | float) and not isinstance(timeout, bool):
            timeout = timedelta(seconds=timeout)
        if timeout is not None and not isinstance(timeout, timedelta):
            raise ValueError("timeout of a deferral must be a timedelta or a number of seconds")
        self.timeout: timedelta | None = timeout

    def __repr__(self) -> str:
        return f"<TaskDeferred trigger={self.trigger} method={self.method_name}>"


class TaskAwaitingInput(TaskDeferred):
    """The task waits for a person's answer (human in the loop operators)."""


class TaskDeferralError(AirflowException):
    """The trigger of a deferred task failed."""


class TaskDeferralTimeout(AirflowException):
    """The trigger of a deferred task did not fire in time."""


class DownstreamTasksSkipped(AirflowException):
    """The task succeeded and decided that these downstream tasks are skipped.

    `tasks`: task ids or (task id, map index) pairs.
    """

    def __init__(self, *, tasks: Sequence[str | tuple[str, int]]) -> None:
        super().__init__()
        self.tasks = tasks


class DagRunTriggerException(AirflowException):
    """The task asks for a run of another DAG (TriggerDagRunOperator)."""

    def __init__(
        self,
        *,
        trigger_dag_id: str,
        dag_run_id: str,
        conf: dict[str, Any] | None = None,
        logical_date: datetime | None = None,
        reset_dag_run: bool = False,
        skip_when_already_exists: bool = False,
        wait_for_completion: bool = False,
        allowed_states: Collection[str] = ("success",),
        failed_states: Collection[str] = ("failed",),
        poke_interval: int = 60,
        deferrable: bool = False,
        fail_when_dag_is_paused: bool = False,
        **extra: Any,
    ) -> None:
        super().__init__(f"run {dag_run_id} of {trigger_dag_id} wanted")
        self.trigger_dag_id = trigger_dag_id
        self.dag_run_id = dag_run_id
        self.conf = conf
        self.logical_date = logical_date
        self.reset_dag_run = reset_dag_run
        self.skip_when_already_exists = skip_when_already_exists
        self.wait_for_completion = wait_for_completion
        self.allowed_states = list(allowed_states)
        self.failed_states = list(failed_states)
        self.poke_interval = poke_interval
        self.deferrable = deferrable
        self.fail_when_dag_is_paused = fail_when_dag_is_paused
        self.extra = extra


# XComs and mapping --------------------------------------------------------------------------------------------------


class XComNotFound(AirflowException):
    """A task argument needs the result of a task that pushed none."""

    def __init__(self, dag_id: str, task_id: str, key: str) -> None:
        super().__init__(dag_id, task_id, key)
        self.dag_id, self.task_id, self.key = dag_id, task_id, key

    def __str__(self) -> str:
        return f'XComArg result from {self.task_id} at {self.dag_id} with key="{self.key}" is not found!'


class XComForMappingNotPushed(AirflowException):
    """A task whose result is mapped over returned nothing (or does not push its result)."""

    def __str__(self) -> str:
        return "did not push XCom for task mapping"


class UnmappableXComTypePushed(AirflowException):
    """A task whose result is mapped over returned something that is neither a list nor a dict."""

    def __init__(self, value: Any, *values: Any) -> None:
        super().__init__(value, *values)

    def __str__(self) -> str:
        typename = type(self.args[0]).__qualname__
        for arg in self.args[1:]:
            typename = f"{typename}[{type(arg).__qualname__}]"
        return f"unmappable return type {typename!r}"


class UnmappableXComLengthPushed(AirflowException):
    """A result that is mapped over is longer than max_map_length allows."""

    def __init__(self, value: Any, max_length: int) -> None:
        super().__init__(value)
        self.value, self.max_length = value, max_length

    def __str__(self) -> str:
        return f"unmappable return value length: {len(self.value)} > {self.max_length}"


class DeserializingResultError(ValueError):
    """The result of a virtualenv task cannot be read back here."""

    def __str__(self) -> str:
        text = "Error deserializing result. Note that result deserialization is not supported"
        return f"{text} across major Python versions."


class SerializationError(AirflowException):
    """A DAG or value cannot be written as JSON."""


# DAG files ----------------------------------------------------------------------------------------------------------


class AirflowDagCycleException(AirflowException):
    """The tasks of a DAG wait for each other in a circle."""


class AirflowDagDuplicatedIdException(AirflowException):
    """Two files describe a DAG of the same id."""

    def __init__(self, dag_id: str, incoming: str, existing: str) -> None:
        super().__init__(dag_id, incoming, existing)
        self.dag_id, self.incoming, self.existing = dag_id, incoming, existing

    def __str__(self) -> str:
        return f"Ignoring DAG {self.dag_id} from {self.incoming} - also found in {self.existing}"


class AirflowClusterPolicyViolation(AirflowException):
    """A policy of this installation forbids the DAG or task."""


class AirflowClusterPolicySkipDag(AirflowException):
    """A policy of this installation leaves the DAG out."""


class AirflowClusterPolicyError(AirflowException):
    """A policy of this installation failed itself."""


class AirflowTimetableInvalid(AirflowException):
    """The schedule of a DAG cannot be understood."""


class AirflowFileParseException(AirflowException):
    """A configuration or secrets file cannot be parsed."""

    def __init__(self, msg: str, file_path: str, parse_errors: Iterable[Any] = ()) -> None:
        super().__init__(msg)
        self.msg, self.file_path, self.parse_errors = msg, file_path, list(parse_errors)

    def __str__(self) -> str:
        return f"{self.msg}\nFilename: {self.file_path}\n" + "\n".join(str(e) for e in self.parse_errors)


class AirflowInactiveAssetInInletOrOutletException(AirflowException):
    """A task names an asset that is not active."""

    def __init__(self, inactive_asset_keys: Collection[Any]) -> None:
        keys = list(inactive_asset_keys)
        super().__init__(f"Task has the following inactive assets in its inlets or outlets: {keys}")
        self.inactive_asset_keys = inactive_asset_keys


class DuplicateTaskIdFound(AirflowException):
    """Two tasks (or groups) of a DAG have the same id."""


class TaskAlreadyInTaskGroup(AirflowException):
    """A task cannot be in two task groups."""

    def __init__(self, task_id: str, existing_group_id: str | None, new_group_id: str) -> None:
        super().__init__(task_id, existing_group_id, new_group_id)
        self.task_id, self.existing_group_id, self.new_group_id = task_id, existing_group_id, new_group_id

    def __str__(self) -> str:
        existing = f"{self.existing_group_id!r}" if self.existing_group_id else "the DAG's root group"
        return f"cannot add {self.task_id!r} to {self.new_group_id!r} (already in {existing})"


class ParamValidationError(AirflowException):
    """A parameter's value does not fit its schema."""


class FailFastDagInvalidTriggerRule(AirflowException):
    """A fail_fast DAG has a task whose trigger rule is not all_success (teardowns apart)."""

    @classmethod
    def check(cls, *, fail_fast: bool, trigger_rule: Any) -> None:
        """Raise when the combination is not allowed."""
        rule = str(getattr(trigger_rule, "value", trigger_rule))
        if fail_fast and rule not in ("all_success", "all_done_setup_success"):
            raise cls

    def __str__(self) -> str:
        return "A 'fail_fast' DAG can only have all_success trigger rule"


FailStopDagInvalidTriggerRule = FailFastDagInvalidTriggerRule


class NotMapped(Exception):
    """A task was asked for its map but is neither mapped nor in a mapped task group."""


# Things that are not there ------------------------------------------------------------------------------------------


class DagNotFound(AirflowNotFoundException):
    """There is no such DAG."""


class DagCodeNotFound(AirflowNotFoundException):
    """There is no stored source of this DAG."""


class DagRunNotFound(AirflowNotFoundException):
    """There is no such run."""


class TaskNotFound(AirflowNotFoundException):
    """There is no such task in the DAG."""


class NodeNotFound(AirflowNotFoundException):
    """There is no such task or group in the DAG."""


class TaskAlreadyRunningError(AirflowException):
    """The task runs somewhere already."""


class TaskInstanceNotFound(AirflowNotFoundException):
    """There is no such task instance."""


class PoolNotFound(AirflowNotFoundException):
    """There is no such pool."""


class DagRunAlreadyExists(AirflowBadRequest):
    """A run with this id or logical date exists already."""


class DagFileExists(AirflowBadRequest):
    """A DAG file of this name exists already."""


class ConnectionNotUnique(AirflowException):
    """More than one connection is defined under one id in a secrets file."""


class VariableNotUnique(AirflowException):
    """More than one variable is defined under one key in a secrets file."""


class UnknownExecutorException(ValueError):
    """The named executor is not configured here."""


class AirflowSecretsBackendAccessDenied(AirflowException):
    """The secrets backend refused to hand out the value."""


class ApplicationError(AirflowException):
    """A listener or plugin of this installation failed."""


# Warnings -----------------------------------------------------------------------------------------------------------


class AirflowProviderDeprecationWarning(DeprecationWarning):
    """A provider's feature will go away."""

    deprecated_provider_since: str | None = None


class RemovedInAirflow3Warning(DeprecationWarning):
    """Gone with Airflow 3."""

    deprecated_since: str | None = None


class RemovedInAirflow4Warning(DeprecationWarning):
    """Will go away with Airflow 4."""

    deprecated_since: str | None = None
