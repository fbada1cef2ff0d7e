"""What a site chooses about its pods. Sources: TRACKSIDE_KUBERNETES_… of `manage.py executor`; docs/settings.md explains each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from trackside.executors.base import ExecutorProblem

SHIPPED, BAKED, SHARED = "shipped", "baked", "shared"


@dataclass(slots=True)
class PodSettings:
    """See docs/settings.md."""

    image: str
    api_url: str
    """The server, as pods reach it."""
    namespace: str = "default"
    namespaces: list[str] = field(default_factory=lambda: ["default"])
    """All in which pods of this site may be (multi-namespace mode); the first is `namespace`."""
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: list[str] = field(default_factory=list)
    service_account: str = ""
    template: dict[str, Any] = field(default_factory=dict)
    dag_files: str = SHIPPED
    dags_folder: str = ""
    """baked, shared: where DAG files lie in the pod."""
    max_pods: int = 100
    creators: int = 8
    """Pods created at the same time."""
    keep_failed_s: float = 600.0
    """How long a pod that failed stays for whoever wants to look at it; 0: not at all."""
    pending_s: float = 900.0
    """How long a pod may wait for a node."""
    pull_s: float = 60.0
    """How long pulling its image may fail."""
    grace_s: int = 15
    """Between SIGTERM and SIGKILL for a pod: on_kill of the task, and its last report."""
    hook_s: float = 30.0
    """How long `pod_mutation_hook` may take for a pod."""
    run_as_user: int | None = 50000
    allow_host_access: bool = False
    """Whether tasks may ask for what reaches beyond their pod (`reach`)."""
    context: str = ""
    config_file: str = ""
    site: str = "trackside"
    """Tells the pods of this site from those of others in the same namespace."""


def read(environment: Mapping[str, str]) -> PodSettings:
    """The settings; raises ExecutorProblem, which names the one that is wrong."""

    def text(name: str, default: str = "") -> str:
        return environment.get(name, "").strip() or default

    def number(name: str, default: float, least: float = 0) -> float:
        try:
            value = float(text(name, str(default)))
        except ValueError as error:
            raise ExecutorProblem(f"{name}={text(name)!r} is no number.") from error
        if value < least:
            raise ExecutorProblem(f"{name}={text(name)} must be at least {least:g}.")
        return value

    def words(name: str) -> list[str]:
        return [word.strip() for word in text(name).split(",") if word.strip()]

    namespaces = words("TRACKSIDE_KUBERNETES_NAMESPACE") or ["default"]
    dag_files = text("TRACKSIDE_KUBERNETES_DAG_FILES", SHIPPED)
    if dag_files not in (SHIPPED, BAKED, SHARED):
        raise ExecutorProblem(f"TRACKSIDE_KUBERNETES_DAG_FILES={dag_files!r} is not {SHIPPED}, {BAKED} or {SHARED}.")
    if dag_files != SHIPPED and not text("TRACKSIDE_KUBERNETES_DAGS_FOLDER"):
        raise ExecutorProblem(
            f"TRACKSIDE_KUBERNETES_DAGS_FOLDER is missing: where do DAG files lie in the pod (TRACKSIDE_KUBERNETES_DAG_FILES={dag_files})?"
        )
    template = _template(text("TRACKSIDE_KUBERNETES_POD_TEMPLATE_FILE"))
    image = text("TRACKSIDE_KUBERNETES_IMAGE") or _image_of(template)
    if not image:
        raise ExecutorProblem(
            "TRACKSIDE_KUBERNETES_IMAGE is missing: the image with Trackside's runner and what your DAGs import "
            "(deploy/images/task.Dockerfile)."
        )
    api_url = text("TRACKSIDE_KUBERNETES_API_URL") or environment.get("TRACKSIDE_API_URL", "")
    if not api_url.startswith(("http://", "https://")):
        raise ExecutorProblem(
            "TRACKSIDE_KUBERNETES_API_URL is missing or no http(s) address: the address of the web processes as pods reach it."
        )
    user = text("TRACKSIDE_KUBERNETES_RUN_AS_USER", "50000")
    return PodSettings(
        image=image,
        api_url=api_url.rstrip("/"),
        namespace=namespaces[0],
        namespaces=namespaces,
        image_pull_policy=text("TRACKSIDE_KUBERNETES_IMAGE_PULL_POLICY", "IfNotPresent"),
        image_pull_secrets=words("TRACKSIDE_KUBERNETES_IMAGE_PULL_SECRETS"),
        service_account=text("TRACKSIDE_KUBERNETES_SERVICE_ACCOUNT"),
        template=template,
        dag_files=dag_files,
        dags_folder=text("TRACKSIDE_KUBERNETES_DAGS_FOLDER"),
        max_pods=int(number("TRACKSIDE_KUBERNETES_MAX_PODS", 100, 1)),
        creators=int(number("TRACKSIDE_KUBERNETES_CREATORS", 8, 1)),
        keep_failed_s=number("TRACKSIDE_KUBERNETES_KEEP_FAILED", 600),
        pending_s=number("TRACKSIDE_KUBERNETES_PENDING_TIMEOUT", 900, 1),
        pull_s=number("TRACKSIDE_KUBERNETES_PULL_TIMEOUT", 60),
        grace_s=int(number("TRACKSIDE_KUBERNETES_GRACE", 15, 1)),
        hook_s=number("TRACKSIDE_KUBERNETES_HOOK_TIMEOUT", 30, 1),
        run_as_user=None if user == "image" else int(number("TRACKSIDE_KUBERNETES_RUN_AS_USER", 50000)),
        allow_host_access=_truth("TRACKSIDE_KUBERNETES_ALLOW_HOST_ACCESS", text("TRACKSIDE_KUBERNETES_ALLOW_HOST_ACCESS", "false")),
        context=text("TRACKSIDE_KUBERNETES_CONTEXT"),
        config_file=text("TRACKSIDE_KUBERNETES_CONFIG_FILE") or environment.get("KUBECONFIG", ""),
        site=environment.get("TRACKSIDE_SITE", "trackside"),
    )


def _truth(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false", "yes", "no", "on", "off", "1", "0"):
        raise ExecutorProblem(f"{name}={value!r} is not true or false.")
    return value.lower() in ("true", "yes", "on", "1")


def load_template(path: str) -> dict[str, Any]:
    """A pod template file; raises ExecutorProblem."""
    return _template(path)


def _template(path: str) -> dict[str, Any]:
    if not path:
        return {}
    try:
        pod = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ExecutorProblem(f"The pod template {path} cannot be read: {error}") from error
    if not isinstance(pod, dict) or pod.get("kind", "Pod") != "Pod":
        raise ExecutorProblem(f"The pod template {path} is no Pod.")
    containers = (pod.get("spec") or {}).get("containers") or []
    if not any(c.get("name") == "base" for c in containers if isinstance(c, dict)):
        raise ExecutorProblem(f"The pod template {path} has no container named base: that is the one that runs the task.")
    return pod


def _image_of(template: Mapping[str, Any]) -> str:
    for container in (template.get("spec") or {}).get("containers") or []:
        if container.get("name") == "base":
            return str(container.get("image") or "")
    return ""
