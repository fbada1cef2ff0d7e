"""`conf`: Airflow's options as DAG files and providers read them: the environment, then sensible defaults.

`AIRFLOW__SECTION__KEY` wins (for secret options also `…_CMD` and `…_SECRET`, see `sdk.options`), then the defaults below,
then those of installed provider packages. Trackside's own settings are elsewhere; these exist so that files that ask for an
option get an answer.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from trackside.sdk import options
from trackside.sdk.exceptions import AirflowConfigException
from trackside.sdk.installed import option_defaults
from trackside.sdk.types import NOTSET

HOME = os.environ.get("AIRFLOW_HOME") or str(Path("~/airflow").expanduser())

DEFAULTS: dict[str, dict[str, str]] = {
    "core": {
        "dags_folder": f"{HOME}/dags",
        "plugins_folder": f"{HOME}/plugins",
        "executor": "LocalExecutor",
        "default_timezone": "utc",
        "load_examples": "False",
        "parallelism": "32",
        "max_active_tasks_per_dag": "16",
        "max_active_runs_per_dag": "16",
        "max_map_length": "1024",
        "default_task_retries": "0",
        "default_task_retry_delay": "300",
        "default_task_weight_rule": "downstream",
        "default_task_execution_timeout": "",
        "dag_run_conf_overrides_params": "True",
        "max_templated_field_length": "4096",
        "hostname_callable": "socket.getfqdn",
        "unit_test_mode": "False",
        "fernet_key": "",
        "allowed_deserialization_classes": "airflow.*",
        "xcom_backend": "airflow.sdk.execution_time.xcom.BaseXCom",
    },
    "kubernetes_executor": {"worker_container_repository": "", "worker_container_tag": "", "namespace": "default"},
    "operators": {"default_owner": "airflow", "default_queue": "default", "default_deferrable": "False"},
    "sensors": {"default_timeout": "604800"},
    "scheduler": {"create_cron_data_intervals": "False", "create_delta_data_intervals": "False"},
    "api": {"base_url": "http://localhost:8080", "port": "8080"},
    "webserver": {"base_url": "http://localhost:8080"},
    "logging": {
        "base_log_folder": f"{HOME}/logs",
        "logging_level": "INFO",
        "remote_logging": "False",
        "encrypt_s3_logs": "False",
    },
    "secrets": {"backend": "", "backend_kwargs": ""},
    "workers": {"secrets_backend": "", "secrets_backend_kwargs": ""},
    "email": {
        "email_backend": "airflow.utils.email.send_email_smtp",
        "from_email": "",
        "default_email_on_retry": "True",
        "default_email_on_failure": "True",
    },
    "smtp": {"smtp_host": "localhost", "smtp_port": "25", "smtp_mail_from": "airflow@example.com"},
    "database": {},
    "metrics": {},
    "triggerer": {"default_capacity": "1000"},
    "lineage": {},
    "common.io": {"xcom_objectstorage_path": "", "xcom_objectstorage_threshold": "-1"},
    "dag_processor": {"refresh_interval": "300", "dag_file_processor_timeout": "50"},
}

_TRUE, _FALSE = {"t", "true", "1", "yes", "on"}, {"f", "false", "0", "no", "off"}


class AirflowConfigParser:
    """Read-only access to options by section and key; names are case-insensitive."""

    def get(self, section: str, key: str, fallback: Any = NOTSET, **_: Any) -> Any:
        """Text of an option. Raises AirflowConfigException if it is unknown and there is no `fallback`."""
        found = self._find(section, key)
        if found is not None:
            return found
        if fallback is NOTSET:
            raise AirflowConfigException(f"section/key [{section}/{key}] not found in config")
        return fallback

    def _find(self, section: str, key: str) -> str | None:
        if (given := options.text(section, key)) is not None:
            return given
        found = DEFAULTS.get(section.lower(), {}).get(key.lower())
        return option_defaults().get((section.lower(), key.lower())) if found is None else found

    def get_mandatory_value(self, section: str, key: str, **kwargs: Any) -> str:
        """`get`, refusing None."""
        value = self.get(section, key, **kwargs)
        if value is None:
            raise ValueError(f"The value {section}/{key} should be set!")
        return str(value)

    def getboolean(self, section: str, key: str, **kwargs: Any) -> bool:
        """An option as a boolean."""
        value = self.get(section, key, **kwargs)
        text = str(value).lower().strip()
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        raise AirflowConfigException(
            f'Failed to convert value to bool. Please check "{key}" key in "{section}" section.'
        )

    def _number(self, kind: Any, section: str, key: str, kwargs: dict[str, Any]) -> Any:
        value = self.get(section, key, **kwargs)
        if value is None:
            return None
        try:
            return kind(value)
        except ValueError:
            raise AirflowConfigException(
                f'Failed to convert value to {kind.__name__}. Please check "{key}" key in "{section}" section.'
            ) from None

    def getint(self, section: str, key: str, **kwargs: Any) -> int:
        """An option as a whole number."""
        return self._number(int, section, key, kwargs)

    def getfloat(self, section: str, key: str, **kwargs: Any) -> float:
        """An option as a number."""
        return self._number(float, section, key, kwargs)

    def getlist(self, section: str, key: str, delimiter: str = ",", **kwargs: Any) -> list[str] | None:
        """An option as a list."""
        value = self.get(section, key, **kwargs)
        if value is None or isinstance(value, list):
            return value
        return [part.strip() for part in value.split(delimiter)] if value else []

    def getjson(self, section: str, key: str, fallback: Any = NOTSET, **kwargs: Any) -> Any:
        """An option read as JSON."""
        value = self.get(section, key, fallback, **kwargs)
        if not isinstance(value, str) or not value:
            return fallback if fallback is not NOTSET and not value else value
        return json.loads(value)

    def getimport(self, section: str, key: str, **kwargs: Any) -> Any:
        """An option that is a dotted path, imported."""
        from trackside.airflow.parts.module_loading import import_string

        value = self.get(section, key, **kwargs)
        return import_string(value) if value else None

    def getsection(self, section: str) -> dict[str, Any] | None:
        """All options of a section that have a value."""
        found: dict[str, Any] = dict(DEFAULTS.get(section.lower(), {}))
        found = {key: value for (own, key), value in option_defaults().items() if own == section.lower()} | found
        prefix = f"AIRFLOW__{section.replace('.', '_').upper()}__"
        found.update({name[len(prefix) :].lower(): v for name, v in os.environ.items() if name.startswith(prefix)})
        return found or None

    def has_option(self, section: str, option: str, **_: Any) -> bool:
        """Whether the option has a value."""
        return bool(self._find(section, option))

    def has_section(self, section: str) -> bool:
        """Whether there are options of that section."""
        return self.getsection(section) is not None

    def as_dict(self, **_: Any) -> dict[str, dict[str, Any]]:
        """Everything."""
        return {section: self.getsection(section) or {} for section in DEFAULTS}


conf = AirflowConfigParser()
get, getboolean, getint, getfloat, getsection, has_option = (
    *(conf.get, conf.getboolean, conf.getint, conf.getfloat),
    *(conf.getsection, conf.has_option),
)
AIRFLOW_HOME = HOME


def get_airflow_home() -> str:
    """The folder Airflow's files would lie in."""
    return HOME
