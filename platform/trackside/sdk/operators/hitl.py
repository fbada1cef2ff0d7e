"""Operators that ask people (human in the loop): a choice, an approval, a branch, a form (rows 1.239-1.247).

A question takes no slot: the try ends as `awaiting_input` and goes on in `execute_complete` with the answer, or when the time
to answer is over. Server side: `apps/runs/questions/`.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypedDict
from urllib.parse import quote, urlencode

from trackside.core.environment import SITE_URL
from trackside.sdk.exceptions import AirflowException, ParamValidationError, TaskAwaitingInput
from trackside.sdk.operator import BaseOperator
from trackside.sdk.operators.skipping import BranchMixIn, SkipMixin
from trackside.sdk.param import ParamsDict, check_value


class HITLTriggerEventError(Exception):
    """The answer cannot be used."""


class HITLTimeoutError(HITLTriggerEventError):
    """Nobody answered in time, and there are no defaults."""


class HITLRejectException(AirflowException):
    """The approval was rejected and the task was told to fail then."""


class HITLUser(TypedDict):
    """Somebody who may answer."""

    id: str
    name: str


class _Question:
    """What `TaskAwaitingInput` carries to the server in the place of a trigger."""

    queue = None

    def __init__(self, **asked: Any) -> None:
        self.asked = asked

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """See `BaseTrigger.serialize`."""
        return "airflow.providers.standard.triggers.hitl.HITLTrigger", self.asked


class HITLOperator(BaseOperator):
    """Asks `subject` (and `body`, Markdown) and waits for one of `options`, or several with `multiple`.

    `defaults` are chosen when `response_timeout` has passed; without them the task fails then. `params` make a form.
    `notifiers` are called when it asks; only `assigned_users` may answer. Raises ValueError for options that contradict.
    """

    template_fields: Collection[str] = ("subject", "body")

    def __init__(
        self,
        *,
        subject: str,
        options: list[str],
        body: str | None = None,
        defaults: str | list[str] | None = None,
        multiple: bool = False,
        params: ParamsDict | dict[str, Any] | None = None,
        notifiers: Sequence[Any] | Any | None = None,
        assigned_users: HITLUser | list[HITLUser] | None = None,
        response_timeout: dt.timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(params=params, **kwargs)
        self.subject, self.body, self.multiple = subject, body, multiple
        self.options = list(options)
        self.defaults = [defaults] if isinstance(defaults, str) else defaults
        self.notifiers = list(notifiers) if isinstance(notifiers, Iterable) else [notifiers] if notifiers else []
        self.assigned_users: list[Any] = [assigned_users] if isinstance(assigned_users, Mapping) else list(assigned_users or [])
        self.response_timeout = response_timeout
        self.validate_options()
        self.validate_params()
        self.validate_defaults()

    def validate_options(self) -> None:
        """There must be something to choose from."""
        if not self.options:
            raise ValueError('"options" cannot be empty.')

    def validate_params(self) -> None:
        """`_options` is taken by the form itself."""
        if "_options" in self.params:
            raise ValueError('"_options" is not allowed in params')

    def validate_defaults(self) -> None:
        """Defaults must be a choice that could be made."""
        if self.defaults is None:
            return
        if not set(self.defaults) <= set(self.options):
            raise ValueError(f'defaults "{self.defaults}" should be a subset of options "{self.options}"')
        if len(self.defaults) > 1 and not self.multiple:
            raise ValueError('More than one defaults given when "multiple" is set to False.')

    @property
    def serialized_params(self) -> dict[str, Any]:
        """The form's fields: params of this task, not those of the DAG."""
        of_dag = {name for name in self.params if self.params.get_param(name).source == "dag"}
        return {name: {**self.params.get_param(name).serialize(), "source": "task"} for name in self.params if name not in of_dag}

    def execute(self, context: Any) -> Any:
        """Ask."""
        for notify in self.notifiers:
            notify(context)
        timeout = self.response_timeout if self.response_timeout is not None else self.execution_timeout
        self.log.info("Waiting for response")
        question = _Question(
            subject=self.subject, body=self.body, options=self.options, defaults=self.defaults, multiple=self.multiple,
            params=self.serialized_params, assigned_users=[_user(user) for user in self.assigned_users],
        )  # fmt: skip
        raise TaskAwaitingInput(trigger=question, method_name="execute_complete", timeout=timeout)

    def generate_link_to_ui(
        self,
        *,
        task_instance: Any,
        base_url: str | None = None,
        options: str | list[str] | None = None,
        params_input: dict[str, Any] | None = None,
    ) -> str:
        """Page of the question, with an answer filled in. Raises ValueError for options or params it does not have."""
        chosen = [options] if isinstance(options, str) else list(options or ())
        if unknown := set(chosen) - set(self.options):
            raise ValueError(f"options {unknown} are not valid options")
        if unknown := set(params_input or ()) - set(self.params.keys()):
            raise ValueError(f"params {unknown} are not valid params")
        base = base_url or os.environ.get(SITE_URL, "http://localhost:8080")
        names = (quote(str(name), safe="") for name in (task_instance.dag_id, task_instance.run_id, task_instance.task_id))
        dag, run, task = names
        mapped = [("map_index", task_instance.map_index)] if task_instance.map_index >= 0 else []
        values = [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in (params_input or {}).items()]
        query = urlencode([*mapped, *(("_options", option) for option in chosen), *values])
        return f"{base.rstrip('/')}/dags/{dag}/runs/{run}/tasks/{task}/answer" + (f"?{query}" if query else "")

    @staticmethod
    def generate_link_to_ui_from_context(
        *, context: Any, base_url: str | None = None, options: list[str] | None = None, params_input: dict[str, Any] | None = None
    ) -> str:
        """`generate_link_to_ui` for the task and try of a context."""
        task = context["task"]
        if not isinstance(task, HITLOperator):
            raise ValueError("This method only supports HITLOperator")
        return task.generate_link_to_ui(
            task_instance=context["task_instance"], base_url=base_url, options=options, params_input=params_input
        )

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Go on with the answer. Raises HITLTimeoutError, HITLTriggerEventError."""
        if "error" in event:
            raise (HITLTimeoutError if event.get("error_type") == "timeout" else HITLTriggerEventError)(event)
        chosen, given = event["chosen_options"], event.get("params_input") or {}
        self.validate_chosen_options(chosen)
        self.validate_params_input(given)
        return {
            "chosen_options": chosen,
            "params_input": given,
            "responded_at": event["responded_at"],
            "responded_by_user": event["responded_by_user"],
        }

    def validate_chosen_options(self, chosen_options: list[str]) -> None:
        """Raises HITLTriggerEventError unless all were offered."""
        if unknown := set(chosen_options) - set(self.options):
            raise HITLTriggerEventError(f"{sorted(unknown)} not in {self.options}")

    def validate_params_input(self, params_input: Mapping[str, Any]) -> None:
        """Raises HITLTriggerEventError for a value that does not fit its param."""
        for name, value in params_input.items():
            if name in self.params:
                try:
                    check_value(value, self.params.get_param(name).schema)
                except ParamValidationError as error:
                    raise HITLTriggerEventError(f"{name}: {error}") from error


def _user(user: Any) -> dict[str, str]:
    if isinstance(user, Mapping):
        return {"id": str(user["id"]), "name": str(user.get("name", user["id"]))}
    return {"id": str(getattr(user, "id", user)), "name": str(getattr(user, "name", user))}


class ApprovalOperator(HITLOperator, SkipMixin):
    """Approve or Reject. A rejection skips what comes directly after it, or everything after it with
    `ignore_downstream_trigger_rules`, or fails the task with `fail_on_reject`."""

    APPROVE = "Approve"
    REJECT = "Reject"
    FIXED_ARGS: ClassVar[list[str]] = ["options", "multiple"]
    _skips: ClassVar[str | None] = "short_circuit"
    inherits_from_skipmixin = True

    def __init__(self, *, ignore_downstream_trigger_rules: bool = False, fail_on_reject: bool = False, **kwargs: Any) -> None:
        for name in self.FIXED_ARGS:
            if name in kwargs:
                raise ValueError(f"Passing {name} to ApprovalOperator is not allowed.")
        self.ignore_downstream_trigger_rules, self.fail_on_reject = ignore_downstream_trigger_rules, fail_on_reject
        super().__init__(options=[self.APPROVE, self.REJECT], multiple=False, **kwargs)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """See the class. Raises HITLRejectException."""
        answer = super().execute_complete(context, event)
        if answer["chosen_options"][0] == self.APPROVE:
            self.log.info("Approved. Proceeding with downstream tasks...")
            return answer
        if self.fail_on_reject:
            raise HITLRejectException('Receive "Reject"')
        if not self.downstream_task_ids:
            self.log.info("No downstream tasks; nothing to do.")
            return answer
        everything = self.ignore_downstream_trigger_rules
        tasks = self.get_flat_relatives(upstream=False) if everything else self.get_direct_relatives(upstream=False)
        self.log.info("Rejected. Skipping downstream tasks...")
        self.skip(context["ti"], [task for task in tasks if not task.is_teardown])
        return answer


class HITLBranchOperator(HITLOperator, BranchMixIn):
    """Follows the tasks that were chosen: options are task ids, or `options_mapping` says which task an option means."""

    _skips: ClassVar[str | None] = "branch"
    inherits_from_skipmixin = True

    def __init__(self, *, options_mapping: dict[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.options_mapping = options_mapping or {}
        self.validate_options_mapping()

    def validate_options_mapping(self) -> None:
        """Raises ValueError for options that are not offered and values that are no task ids."""
        if extra := set(self.options_mapping) - set(self.options):
            raise ValueError(f"`options_mapping` contains keys that are not in `options`: {sorted(extra)}")
        if wrong := {key: type(v).__name__ for key, v in self.options_mapping.items() if not isinstance(v, str)}:
            raise ValueError(f"`options_mapping` values must be strings (task_ids).\n {wrong}")

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Follow the choice."""
        answer = super().execute_complete(context, event)
        chosen = [self.options_mapping.get(option, option) for option in answer["chosen_options"]]
        return self.do_branch(context, chosen)


class HITLEntryOperator(HITLOperator):
    """A form to fill in: `params`, and a single OK unless other options are given."""

    OK = "OK"

    def __init__(self, **kwargs: Any) -> None:
        if "options" not in kwargs:
            kwargs["options"] = [self.OK]
            kwargs.setdefault("defaults", [self.OK])
        super().__init__(**kwargs)
