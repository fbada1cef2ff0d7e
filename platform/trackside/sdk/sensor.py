"""BaseSensorOperator: a task that waits until something is the case (rows 1.271-1.275).

For operator authors, who override `poke`. In mode "poke" it sleeps in its process between two looks; in mode
"reschedule" it ends after each look and gives its slot back until the next one.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import time
from collections.abc import Callable
from typing import Any

from trackside.sdk import arguments as check
from trackside.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferralTimeout,
)
from trackside.sdk.operator import BaseOperator

DEFAULT_TIMEOUT_S = 7 * 24 * 3600.0


class PokeReturnValue:
    """What `poke` may return instead of a bool: `PokeReturnValue(is_done=True, xcom_value=…)`."""

    def __init__(self, is_done: bool, xcom_value: Any = None) -> None:
        self.is_done = is_done
        self.xcom_value = xcom_value

    def __bool__(self) -> bool:
        return self.is_done


class BaseSensorOperator(BaseOperator):
    """Times in seconds or timedelta. `timeout` counts over all looks of one try; running out fails without retry.

    `soft_fail`: running out skips instead. `never_fail`: whatever happens skips. `silent_fail`: exceptions of a look
    are logged and the next look comes.
    """

    ui_color = "#e6f1f2"
    valid_modes = ("poke", "reschedule")

    def __init__(
        self,
        *,
        poke_interval: dt.timedelta | float = 60,
        timeout: dt.timedelta | float = DEFAULT_TIMEOUT_S,
        soft_fail: bool = False,
        mode: str = "poke",
        exponential_backoff: bool = False,
        max_wait: dt.timedelta | float | None = None,
        silent_fail: bool = False,
        never_fail: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.poke_interval = self._not_negative("poke_interval", poke_interval)
        self.timeout = self._not_negative("timeout", timeout)
        self.soft_fail = soft_fail
        self.mode = mode
        self.exponential_backoff = exponential_backoff
        self.max_wait = None if max_wait is None else dt.timedelta(seconds=self._not_negative("max_wait", max_wait))
        self.silent_fail = silent_fail
        self.never_fail = never_fail
        if mode not in self.valid_modes:
            raise ValueError(f"The mode must be one of {list(self.valid_modes)} for sensor {self.task_id!r}, not {mode!r}")
        if soft_fail and never_fail:
            raise ValueError("soft_fail and never_fail are mutually exclusive, you can not provide both.")

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """See `BaseOperator.resume_execution`: a wait that was too long is a sensor's timeout; soft_fail skips what failed."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout as error:
            raise AirflowSensorTimeout(*error.args) from error
        except AirflowException as error:
            if self.soft_fail:
                raise AirflowSkipException(str(error)) from error
            raise

    def _not_negative(self, name: str, value: Any) -> float:
        seconds = check.span(name, value).total_seconds()
        if seconds < 0:
            raise ValueError(f"{type(self).__name__}.{name} must not be negative, not {value!r}")
        return seconds

    @property
    def reschedule(self) -> bool:
        """Whether the slot is given back between two looks."""
        return self.mode == "reschedule"

    @property
    def deps(self) -> frozenset[Any]:
        """Kept for older operators."""
        return frozenset()

    def poke(self, context: Any) -> bool | PokeReturnValue:
        """Look once. Override; true ends the wait."""
        raise NotImplementedError(f"{type(self).__name__} does not implement poke()")

    def execute(self, context: Any) -> Any:
        """Look, wait, look again, until it is true or the time has run out."""
        elapsed = self._clock(context)
        looks = 1 + (int(context.get("task_reschedule_count") or 0) if self.reschedule else 0)
        while True:
            answer = self._look(context)
            if answer:
                break
            if elapsed() > self.timeout:
                self._time_is_up(elapsed())
            wait = self._next_interval(looks, elapsed, context)
            if self.reschedule:
                raise AirflowRescheduleException(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=wait))
            time.sleep(wait)
            looks += 1
        self.log.info("Success criteria met. Exiting.")
        return answer.xcom_value if isinstance(answer, PokeReturnValue) else None

    def _clock(self, context: Any) -> Callable[[], float]:
        """Seconds since the try's first look; in reschedule mode that was in another process."""
        first = context["ti"].get_first_reschedule_date(context) if self.reschedule else None
        if first is not None:
            return lambda: (dt.datetime.now(dt.UTC) - first).total_seconds()
        start = time.monotonic()
        return lambda: time.monotonic() - start

    def _look(self, context: Any) -> Any:
        try:
            return self.poke(context)
        except (AirflowSensorTimeout, AirflowTaskTimeout, AirflowFailException) as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"Skipping: {error}") from error
            raise
        except (AirflowSkipException, AirflowRescheduleException):
            raise
        except Exception as error:
            if self.silent_fail:
                self.log.error("Sensor poke failed: %s", error, exc_info=error)
                return False
            if self.never_fail:
                raise AirflowSkipException(f"Skipping: {error}") from error
            raise

    def _time_is_up(self, seconds: float) -> None:
        message = f"Sensor has timed out; run duration of {seconds} seconds exceeds the specified timeout of {self.timeout}."
        if self.soft_fail or self.never_fail:
            raise AirflowSkipException(message)
        raise AirflowSensorTimeout(message)

    def _next_interval(self, looks: int, elapsed: Callable[[], float], context: Any) -> float:
        """Seconds until the next look; with back-off it doubles, spread by the task so that sensors do not march in step."""
        if not self.exponential_backoff:
            return self.poke_interval
        low = int(self.poke_interval * (2 ** (min(looks, 60) - 2))) if self.poke_interval else 0
        low = max(low, 1)
        ti = context["ti"]
        seed = f"{self.dag_id}#{self.task_id}#{getattr(ti, 'run_id', '')}#{looks}"
        spread = int(hashlib.sha1(seed.encode(), usedforsecurity=False).hexdigest(), 16) % low
        wait = min(float(low + spread), max(self.timeout - elapsed(), 0) or 1.0)
        wait = max(wait, self.poke_interval)
        return min(wait, self.max_wait.total_seconds()) if self.max_wait is not None else wait


def poke_mode_only(cls: type) -> type:
    """Class decorator for sensors that hold something between looks: refuses mode "reschedule"."""
    init = cls.__init__  # type: ignore[misc]  # wrapping is the point

    @functools.wraps(init)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("mode", "poke") != "poke":
            raise ValueError(f"Cannot set mode to {kwargs['mode']!r}. Only 'poke' is acceptable for {cls.__name__}")
        init(self, *args, **kwargs)

    cls.__init__ = checked  # type: ignore[misc]
    return cls
