"""The pod of a try: the site's template, then what Trackside needs, then what the task asks for; and the secret beside it.

Airflow's order: template, generated, `executor_config["pod_override"]`; a task may name a `pod_template_file` of its own.
What is nobody's wish gets safe defaults: not root, no escalation, read-only root file system, no service-account token.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from trackside import __version__
from trackside.executors.base import ExecutorProblem, TryRef
from trackside.executors.kubernetes import names, reach
from trackside.executors.kubernetes.merge import merged
from trackside.executors.kubernetes.settings import SHIPPED, PodSettings, load_template

MAIN = "base"
"""The container that runs the task; Airflow's name for it."""
START = "/var/run/trackside"
CACHE = "/var/cache/trackside"


class BadPod(ValueError):
    """The task's wishes make no pod; the message says what to change in the DAG file."""


def build(ref: TryRef, settings: PodSettings, alias: str) -> dict[str, Any]:
    """The pod. Raises BadPod."""
    template, override = settings.template, ref.config.get("pod_override")
    try:
        if own := ref.config.get("pod_template_file"):
            template = load_template(str(own))
    except ExecutorProblem as error:
        raise BadPod(f"{error} Correct executor_config['pod_template_file'] of task {ref.task_id}.") from error
    if override is not None and not isinstance(override, Mapping):
        raise BadPod(f"executor_config['pod_override'] of task {ref.task_id} must be a V1Pod or a dict with the API's own names.")
    _check(override or {}, ref)
    if not settings.allow_host_access:
        for asked in (override or {}, template if ref.config.get("pod_template_file") else {}):
            if wish := reach.beyond(asked):
                raise BadPod(
                    f"Task {ref.task_id} asks for {wish}, which reaches beyond its pod. Take it out of executor_config, or have whoever "
                    "runs this site put it into the site's pod template or set TRACKSIDE_KUBERNETES_ALLOW_HOST_ACCESS."
                )
    pod = merged(copy.deepcopy(template), _generated(ref, settings, alias, template))
    pod = merged(pod, override or {})
    return _finished(pod, ref, settings, alias)


def after_hook(changed: Mapping[str, Any], built: Mapping[str, Any], ref: TryRef, settings: PodSettings, alias: str) -> dict[str, Any]:
    """A pod that the site's `pod_mutation_hook` made of `built`, held to the same rules. Raises BadPod.

    The hook may change what a task may; what makes it this try's pod (name, labels, the secret and its place) is put back. It may
    not lead out of the pod further than `built` did: the file it is in may lie where authors of DAGs write.
    """
    pod = copy.deepcopy(dict(changed))
    pod.pop("status", None)
    spec, meta = pod.get("spec"), pod.setdefault("metadata", {})
    if not isinstance(spec, dict) or not spec.get("containers"):
        raise BadPod("pod_mutation_hook left the pod without containers: change the pod it gets in place.")
    if not any(c.get("name") == MAIN for c in spec["containers"]) and any(c.get("name") == MAIN for c in built["spec"]["containers"]):
        raise BadPod(f"pod_mutation_hook took the container {MAIN!r} away, which runs the task: keep its name.")
    if not settings.allow_host_access and (wish := reach.added(built, pod)):
        raise BadPod(
            f"pod_mutation_hook asks for {wish}, which reaches beyond the pod. Take it out of the hook, put it into the site's pod "
            "template, or set TRACKSIDE_KUBERNETES_ALLOW_HOST_ACCESS."
        )
    for key in ("uid", "resourceVersion", "creationTimestamp", "ownerReferences", "finalizers"):
        if key not in built["metadata"]:
            meta.pop(key, None)
    labels = names.labels(ref, site=settings.site, alias=alias, version=__version__)
    meta["labels"] = {**labels, **(meta.get("labels") or {})}
    meta["annotations"] = {**names.notes(ref), **(meta.get("annotations") or {})}
    _put_back(spec, built["spec"])
    users = [(spec.get("securityContext") or {}).get("runAsUser"), (main_container(spec).get("securityContext") or {}).get("runAsUser")]
    if 0 in users and (spec.get("securityContext") or {}).get("runAsNonRoot"):
        spec["securityContext"].pop("runAsNonRoot")  # ours, of before the hook asked for root
    try:
        return _finished(pod, ref, settings, alias)
    except BadPod as error:
        raise BadPod(f"After pod_mutation_hook: {error}") from error


def _put_back(spec: dict[str, Any], built: Mapping[str, Any]) -> None:
    """The start token's volume, its place in the main container, and the environment the runner needs."""
    spec["volumes"] = _kept(spec.get("volumes"), [v for v in built.get("volumes") or [] if v.get("name") == "trackside-start"])
    was, base = main_container(built), dict(main_container(spec))
    mounts = [m for m in was.get("volumeMounts") or [] if m.get("name") == "trackside-start"]
    places = [m.get("mountPath") for m in mounts]
    others = [m for m in base.get("volumeMounts") or [] if m.get("name") == "trackside-start" or m.get("mountPath") not in places]
    base["volumeMounts"] = _kept(others, mounts)
    known = {e.get("name") for e in base.get("env") or []}
    needed = [e for e in was.get("env") or [] if str(e.get("name")).startswith("TRACKSIDE_") and e["name"] not in known]
    base["env"] = [*(base.get("env") or []), *needed]
    spec["containers"] = [base if c.get("name") == base.get("name") else c for c in spec["containers"]]


def _kept(now: Any, ours: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A list with our entries as we made them, in their places; at the end, if they were taken out."""
    mine = {entry["name"]: entry for entry in ours}
    kept = []
    for entry in now or []:
        if (name := entry.get("name")) in mine:
            kept.append(mine.pop(name))
        elif all(name != one["name"] for one in ours):
            kept.append(entry)
    return [*kept, *mine.values()]


def secret(ref: TryRef, pod: Mapping[str, Any]) -> dict[str, Any]:
    """The start token of the try, for its pod only; it goes with the pod (see `owned_by`)."""
    meta = pod["metadata"]
    return {
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": True, "stringData": {"token": ref.start_token},
        "metadata": {"name": meta["name"], "namespace": meta["namespace"], "labels": {k: meta["labels"][k] for k in
                     (names.SITE, names.EXECUTOR, names.TRY, names.ROUND)}},
    }  # fmt: skip


def owned_by(pod: Mapping[str, Any]) -> dict[str, Any]:
    """A patch that ties a secret to the life of its pod."""
    meta = pod["metadata"]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"], "controller": False, "blockOwnerDeletion": False}
    return {"metadata": {"ownerReferences": [owner]}}


def facts(pod: Mapping[str, Any]) -> dict[str, Any]:
    """What the page of the try shows of its pod: the spec without values of the environment, which may be secret."""
    meta, spec = pod["metadata"], pod["spec"]
    base = main_container(spec)
    return {
        "pod": meta["name"], "namespace": meta["namespace"], "image": base.get("image"), "resources": base.get("resources") or {},
        "service_account": spec.get("serviceAccountName") or "default", "spec": masked(spec),
    }  # fmt: skip


def masked(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A pod spec for people: literal values of environment variables are hidden."""
    shown = copy.deepcopy(dict(spec))
    for container in [*(shown.get("containers") or []), *(shown.get("initContainers") or [])]:
        for variable in container.get("env") or []:
            if "value" in variable:
                variable["value"] = "***"
    return shown


def main_container(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The container that decides: the one named base, else the first."""
    containers = spec.get("containers") or [{}]
    found: Mapping[str, Any] = next((c for c in containers if c.get("name") == MAIN), containers[0])
    return found


def _check(override: Mapping[str, Any], ref: TryRef) -> None:
    spec = override.get("spec")
    if spec is not None and not isinstance(spec, Mapping):
        raise BadPod(f"pod_override of task {ref.task_id}: spec must be a mapping.")
    for key in ("containers", "initContainers", "volumes"):
        entries = (spec or {}).get(key)
        if entries is not None and not (isinstance(entries, list) and all(isinstance(e, Mapping) for e in entries)):
            raise BadPod(f"pod_override of task {ref.task_id}: spec.{key} must be a list of mappings.")


def _generated(ref: TryRef, settings: PodSettings, alias: str, template: Mapping[str, Any]) -> dict[str, Any]:
    inside = (template.get("spec") or {}).get("containers") or []
    environment = {"TRACKSIDE_API_URL": settings.api_url, "TRACKSIDE_DAG_FILES": settings.dag_files, "AIRFLOW_IS_K8S_EXECUTOR_POD": "True"}
    mounts = [{"name": "trackside-start", "mountPath": START, "readOnly": True}]
    volumes: list[dict[str, Any]] = [{"name": "trackside-start", "secret": {"secretName": names.pod_name(ref), "defaultMode": 0o440}}]
    if settings.dag_files == SHIPPED:
        environment["TRACKSIDE_FILES_CACHE"] = CACHE
        mounts.append({"name": "trackside-files", "mountPath": CACHE})
        if not any(v.get("name") == "trackside-files" for v in (template.get("spec") or {}).get("volumes") or []):
            volumes.append({"name": "trackside-files", "emptyDir": {}})
    else:
        environment["TRACKSIDE_DAGS_FOLDER"] = settings.dags_folder
    container: dict[str, Any] = {
        "name": MAIN, "command": ["python3", "-m", "trackside.runner", "--try-id", str(ref.id), "--token-file", f"{START}/token"],
        "env": [{"name": name, "value": value} for name, value in environment.items()], "volumeMounts": mounts,
    }  # fmt: skip
    if not inside or not inside[0].get("image"):
        container["image"] = settings.image
    containers: list[dict[str, Any]] = [{} for _ in inside] or [container]
    for place, one in enumerate(inside):
        if one.get("name") == MAIN:
            containers[place] = container
    spec: dict[str, Any] = {"containers": containers, "volumes": volumes, "restartPolicy": "Never"}
    if settings.service_account:
        spec["serviceAccountName"] = settings.service_account
    if settings.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    metadata = {"labels": names.labels(ref, site=settings.site, alias=alias, version=__version__), "annotations": names.notes(ref)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _finished(pod: dict[str, Any], ref: TryRef, settings: PodSettings, alias: str) -> dict[str, Any]:
    """What no override may change, and defaults for what nobody wished."""
    meta, spec = pod["metadata"], pod["spec"]
    meta["name"] = names.pod_name(ref)
    meta.pop("generateName", None)
    meta["namespace"] = meta.get("namespace") or settings.namespace
    if meta["namespace"] not in settings.namespaces:
        raise BadPod(
            f"Task {ref.task_id} asks for namespace {meta['namespace']}, but pods may only be in {', '.join(settings.namespaces)}. "
            "Change pod_override, or add it to TRACKSIDE_KUBERNETES_NAMESPACE."
        )
    meta["labels"] |= {names.SITE: settings.site, names.EXECUTOR: names.label(alias), names.TRY: str(ref.id), names.ROUND: str(ref.round)}
    spec["restartPolicy"] = "Never"
    base = dict(main_container(spec))
    base.setdefault("imagePullPolicy", settings.image_pull_policy)
    own = base.get("securityContext") or {}
    defaults: dict[str, Any] = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    if own.get("privileged"):
        defaults = {}
    base["securityContext"] = merged(defaults, own)
    if base["securityContext"].get("readOnlyRootFilesystem"):
        _writable_tmp(spec, base)
    spec["containers"] = [base if c.get("name") == base.get("name") else c for c in spec["containers"]]
    context: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if settings.run_as_user is not None:
        context |= {"runAsUser": settings.run_as_user, "runAsGroup": settings.run_as_user, "fsGroup": settings.run_as_user}
    mine = spec.get("securityContext") or {}
    if mine.get("runAsUser") == 0 or own.get("runAsUser") == 0:
        context["runAsNonRoot"] = False
    spec["securityContext"] = merged(context, mine)
    spec.setdefault("automountServiceAccountToken", False)
    spec.setdefault("enableServiceLinks", False)
    spec.setdefault("terminationGracePeriodSeconds", settings.grace_s)
    return pod


def _writable_tmp(spec: dict[str, Any], base: dict[str, Any]) -> None:
    """Python and most tasks need a /tmp, and a home."""
    if not any(m.get("mountPath") == "/tmp" for m in base.get("volumeMounts") or []):  # noqa: S108
        base["volumeMounts"] = [*(base.get("volumeMounts") or []), {"name": "trackside-tmp", "mountPath": "/tmp"}]  # noqa: S108
        spec["volumes"] = [*(spec.get("volumes") or []), {"name": "trackside-tmp", "emptyDir": {}}]
    if not any(e.get("name") == "HOME" for e in base.get("env") or []):
        base["env"] = [*(base.get("env") or []), {"name": "HOME", "value": "/tmp"}]  # noqa: S108
