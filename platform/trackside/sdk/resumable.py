"""ResumableJobMixin: an operator that starts one job elsewhere and waits for it finds that job again after a crash.

For authors of operators and provider packages (row 1.072). The job's id is kept in the task's state store, which outlives
the try; the next try asks how the job is doing before it starts another one.
"""

from __future__ import annotations

import abc
import logging
from typing import Any

from trackside.sdk.operator_meta import _with_defaults


class ResumableJobMixin(abc.ABC):
    """Mixin before the operator's parent; `execute` calls `execute_resumable`. `durable=False` always starts a new job."""

    external_id_key: str = "remote_job_id"
    """Name of the id in the task's state store; changing it loses the jobs of tries that wait to be repeated."""
    log: logging.Logger

    @_with_defaults
    def __init__(self, *, durable: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.durable = durable

    def execute_resumable(self, context: Any) -> Any:
        """Start the job and wait for it, or wait for the one that an earlier try left running, or fetch what it left.

        A worker that dies after the job was started and before its id was kept starts it again.
        """
        store = context.get("task_state_store") if self.durable else None
        if self.durable and store is None:
            self.log.warning("There is no task state store in the context: a crash starts the job again")
        earlier = store.get(self.external_id_key) if store is not None else None
        if earlier:
            status = self.get_job_status(earlier, context)
            if self.is_job_active(status):
                self.log.info("The job %s of an earlier try still runs (%s); waiting for it", earlier, status)
                return self.poll_until_complete(earlier, context)
            if self.is_job_succeeded(status):
                self.log.info("The job %s of an earlier try is done (%s)", earlier, status)
                return self.get_job_result(earlier, context)
            self.log.warning("The job %s of an earlier try ended with %s; starting another one", earlier, status)
        job = self.submit_job(context)
        if store is not None and job is not None:
            store.set(self.external_id_key, job)
        self.poll_until_complete(job, context)
        return self.get_job_result(job, context)

    @abc.abstractmethod
    def submit_job(self, context: Any) -> Any:
        """Start the job; its id there, as a JSON value."""

    @abc.abstractmethod
    def get_job_status(self, external_id: Any, context: Any) -> str:
        """How the job is doing, in the other system's word."""

    @abc.abstractmethod
    def is_job_active(self, status: str) -> bool:
        """Whether that word means that it still runs."""

    @abc.abstractmethod
    def is_job_succeeded(self, status: str) -> bool:
        """Whether that word means that it is done well."""

    @abc.abstractmethod
    def poll_until_complete(self, external_id: Any, context: Any) -> Any:
        """Wait for the end. Raises if the job fails."""

    @abc.abstractmethod
    def get_job_result(self, external_id: Any, context: Any) -> Any:
        """What the job left."""
