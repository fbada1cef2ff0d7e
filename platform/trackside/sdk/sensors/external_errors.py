"""What ExternalTaskSensor raises, under the names of the standard provider."""

from __future__ import annotations

from trackside.sdk.exceptions import AirflowException


class AirflowExternalTaskSensorException(AirflowException):
    """Parent of the errors of ExternalTaskSensor."""


class ExternalDagNotFoundError(AirflowExternalTaskSensorException):
    """The other DAG does not exist."""


class ExternalDagDeletedError(AirflowExternalTaskSensorException):
    """The other DAG was deleted."""


class ExternalTaskNotFoundError(AirflowExternalTaskSensorException):
    """The task waited for does not exist, or its state cannot be told."""


class ExternalTaskGroupNotFoundError(AirflowExternalTaskSensorException):
    """The group waited for does not exist."""


class ExternalTaskFailedError(AirflowExternalTaskSensorException):
    """A task waited for is in one of `failed_states`."""


class ExternalTaskGroupFailedError(AirflowExternalTaskSensorException):
    """A group waited for is in one of `failed_states`."""


class ExternalDagFailedError(AirflowExternalTaskSensorException):
    """The run waited for is in one of `failed_states`."""


class DuplicateStateError(AirflowExternalTaskSensorException):
    """A state is in more than one of allowed_states, skipped_states and failed_states."""
