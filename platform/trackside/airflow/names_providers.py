"""The table's part for provider packages: what their modules import that DAG files seldom name.

For `names`, whose own lines win. `serverside` names can be imported, and say why they cannot be used. Next door:
`tools/bridge_report.py` says which names of published packages are still missing.
"""

from __future__ import annotations

from typing import Any

_P = "airflow.parts"


def _of(target: str, *names: str) -> dict[str, Any]:
    return {name: f"{target}:{name}" for name in names}


_MANAGER = _of(
    f"{_P}.providers", "ProvidersManager", "ProvidersManagerTaskRuntime", "HookInfo", "DialectInfo", "ProviderInfo", "PluginInfo"
)
_LINEAGE = _of(
    f"{_P}.lineage",
    *("HookLineage", "HookLineageCollector", "HookLineageReader", "NoOpCollector", "AssetLineageInfo", "ExtraLineageInfo"),
    *("LineageContext", "get_hook_lineage_collector"),
)
_SERVER = f"{_P}.serverside"
_BUNDLE = _of(
    "sdk.bundle",
    *("BaseDagBundle", "BundleVersion", "get_bundle_storage_root_path", "get_bundle_base_folder"),
    *("get_bundle_versions_base_folder", "get_bundle_version_path"),
)

PROVIDERS: dict[str, dict[str, Any]] = {
    "airflow.providers_manager": _MANAGER,
    "airflow.sdk.providers_manager_runtime": _MANAGER,
    "airflow.utils.providers_configuration_loader": _of(f"{_P}.providers", "providers_configuration_loaded"),
    "airflow.sdk.lineage": _LINEAGE,
    "airflow.lineage": {},
    "airflow.lineage.hook": _LINEAGE,
    "airflow.sdk._shared.module_loading": {"*": f"{_P}.module_loading"},
    "airflow.sdk._shared.timezones.timezone": {"*": f"{_P}.timezone"},
    "airflow.sdk._shared.listeners": _of("sdk.plugins.hooks", "hookimpl"),
    "airflow.sdk.bases.resumablejobmixin": _of("sdk.resumable", "ResumableJobMixin"),
    "airflow.sdk.state": _of("sdk.state_store", "AssetScope", "BaseStoreBackend", "StoreScope", "TaskScope", "NEVER_EXPIRE"),
    "airflow.secrets": _of(f"{_P}.secrets", "BaseSecretsBackend", "DEFAULT_SECRETS_SEARCH_PATH"),
    "airflow.secrets.base_secrets": _of(f"{_P}.secrets", "BaseSecretsBackend"),
    "airflow.secrets.environment_variables": _of(
        f"{_P}.secrets", "EnvironmentVariablesBackend", "CONN_ENV_PREFIX", "VAR_ENV_PREFIX"
    ),
    "airflow.secrets.local_filesystem": _of(
        f"{_P}.secret_files", "LocalFilesystemBackend", "load_variables", "load_connections_dict", "load_configs_dict"
    ),
    "airflow.utils.email": {"*": f"{_P}.email"},
    "airflow.utils.file": {"*": f"{_P}.files"},
    "airflow.utils.yaml": {"*": f"{_P}.yaml"},
    # parts of Airflow's server
    "airflow.api.common.trigger_dag": _of(_SERVER, "trigger_dag"),
    "airflow.cli": {},
    "airflow.cli.cli_config": {"*": f"{_P}.cli"},
    "airflow.cli.cli_parser": _of(f"{_P}.cli", "AirflowHelpFormatter", "DefaultHelpParser", "_add_command"),
    "airflow.dag_processing.bundles.base": _BUNDLE,
    "airflow.dag_processing.dagbag": _of(_SERVER, "DagBag"),
    "airflow.executors": {},
    "airflow.executors.base_executor": _of(_SERVER, "BaseExecutor", "ExecutorConf", "PARALLELISM"),
    "airflow.executors.executor_loader": _of(_SERVER, "ExecutorLoader"),
    "airflow.executors.local_executor": _of(_SERVER, "LocalExecutor"),
    "airflow.executors.workloads": _of(_SERVER, "ExecuteTask", "ExecuteCallback"),
    "airflow.executors.workloads.base": _of(_SERVER, "WorkloadType"),
    "airflow.executors.workloads.types": _of(_SERVER, "TaskInstanceUuid", "WorkloadKey"),
    "airflow.jobs.job": _of(_SERVER, "Job"),
    "airflow.models": _of(_SERVER, "DagModel", "DagBag"),
    "airflow.models.asset": _of(_SERVER, "expand_alias_to_assets"),
    "airflow.models.dag": _of(_SERVER, "DagModel"),
    "airflow.models.dagbag": _of(_SERVER, "DagBag"),
    "airflow.models.renderedtifields": _of(_SERVER, "RenderedTaskInstanceFields"),
    "airflow.models.serialized_dag": _of(_SERVER, "SerializedDagModel"),
    "airflow.models.taskinstance": _of(_SERVER, "clear_task_instances", "SimpleTaskInstance"),
    "airflow.sdk.execution_time.coordinator": _of(_SERVER, "get_coordinator_manager"),
    "airflow.serialization.encoders": _of(_SERVER, "coerce_to_core_timetable"),
    "airflow.serialization.serialized_objects": _of(_SERVER, "create_scheduler_operator"),
    "airflow.settings": _of(_SERVER, "Session", "pod_mutation_hook"),
    "airflow.utils.cli": _of(_SERVER, "action_cli", "get_bagged_dag", "get_dag"),
    "airflow.utils.log.file_task_handler": _of(_SERVER, "FileTaskHandler"),
    "airflow.utils.log.trigger_handler": _of(_SERVER, "ctx_indiv_trigger"),
    "airflow.utils.session": _of(_SERVER, "create_session", "provide_session", "NEW_SESSION"),
    "airflow.api_fastapi.app": _of(_SERVER, "AUTH_MANAGER_FASTAPI_APP_PREFIX", "get_auth_manager", "get_cookie_path"),
    "airflow.api_fastapi.auth.managers.base_auth_manager": _of(_SERVER, "BaseAuthManager", "COOKIE_NAME_JWT_TOKEN"),
    "airflow.api_fastapi.auth.managers.models.base_user": _of(_SERVER, "BaseUser"),
    "airflow.api_fastapi.auth.managers.models.resource_details": _of(_SERVER, "AccessView", "AssetAliasDetails", "AssetDetails"),
    "airflow.api_fastapi.common.router": _of(_SERVER, "AirflowRouter"),
    "airflow.api_fastapi.core_api.base": _of(_SERVER, "BaseModel"),
}
"""Module → its names."""
