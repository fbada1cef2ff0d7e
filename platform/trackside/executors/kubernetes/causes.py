"""The table of causes: why a pod does not run, or did not end as it should; whose budget that is charged to; what to do.

`reasons` finds the cause in a pod's status; docs/kubernetes.md shows the table (`python -m trackside.executors.kubernetes.causes`).
"""

from __future__ import annotations

from dataclasses import dataclass

from trackside.executors.base import Fault


@dataclass(frozen=True, slots=True)
class Cause:
    """One line of the table. `says` may hold {detail}, {limit}, {code}, {container}, {node}."""

    code: str
    when: str
    says: str
    advice: str
    fault: Fault | None
    """None: it waits, and may go on by itself."""
    patience: str = ""
    """Waiting causes: name of the setting (PodSettings) that ends the wait; "" never."""
    after: Fault = Fault.USER
    """Whose budget, when the patience is over."""


_U, _I = Fault.USER, Fault.INFRA
CAUSES = {cause.code: cause for cause in (
    # it waits
    Cause("pod_starting", "Container is being created", "Its pod {detail}.", "It goes on by itself.", None),
    Cause("pod_unschedulable", "PodScheduled is false", "No node can take its pod: {detail}.",
          "Add nodes, ask for less, or correct node selector, affinity and tolerations.", None, "pending_s", _I),
    Cause("pod_volume", "FailedMount, FailedAttachVolume", "A volume of its pod cannot be mounted: {detail}.",
          "Create the volume, claim, secret or config map that it names.", None, "pending_s", _I),
    Cause("pod_sandbox", "FailedCreatePodSandBox, or its node has just started", "The node cannot set up its pod: {detail}.",
          "Look at the network plugin and the container runtime of node {node}.", None, "pending_s", _I),
    Cause("image_pull", "ErrImagePull, ImagePullBackOff", "Its image cannot be pulled: {detail}.",
          "Correct the name of the image, the pull secret, or the registry.", None, "pull_s", _U),
    # it will never start
    Cause("image_name", "InvalidImageName, ErrImageNeverPull, ImageInspectError", "Its image cannot be used: {detail}.",
          "Correct the image in executor_config, in the pod template, or TRACKSIDE_KUBERNETES_IMAGE.", _U),
    Cause("container_config", "CreateContainerConfigError", "Its container cannot be configured: {detail}.",
          "Create what it names (secret, config map), or correct the pod.", _U),
    Cause("container_create", "CreateContainerError, RunContainerError, StartError, ContainerCannotRun",
          "Its container cannot be started: {detail}.", "Correct command, arguments or security context of the container.", _U),
    # it ended without a report
    Cause("oom", "OOMKilled", "It was killed because it used more memory than its limit{limit}.",
          "Raise resources.limits.memory, or let the task need less.", _U),
    Cause("signal", "Exit code above 128", "Its container was killed by {detail}.",
          "If nobody did that by hand, look at the node's memory and at what the task starts.", _U),
    Cause("exit_code", "Exit code", "Its container ended with exit code {code}{detail}.", "The log says what the task did last.", _U),
    Cause("no_report", "Exit code 0 without a report", "Its container ended with exit code 0, but the task was never run by it{detail}.",
          "The command of the container must be Trackside's runner: leave `command` out of pod_override.", _U),
    Cause("init_failed", "An init container failed", "Init container {container} failed with exit code {code}{detail}.",
          "Its own log says why.", _U),
    Cause("deadline", "DeadlineExceeded", "Its pod ran longer than activeDeadlineSeconds allows.",
          "Raise activeDeadlineSeconds in pod_override, or use execution_timeout, which lets on_kill work.", _U),
    # not the task's doing
    Cause("not_started", "Its runner says so", "The server did not let it start: {detail}.", "Nothing: it starts elsewhere.", _I),
    Cause("evicted", "Evicted", "Node {node} evicted its pod: {detail}.", "Ask for the memory and ephemeral storage it uses.", _I),
    Cause("preempted", "Preempting, PreemptionByScheduler", "Its pod made room for one of higher priority{detail}.",
          "Give it a priorityClassName, or add nodes.", _I),
    Cause("drained", "EvictionByEvictionAPI",
          "Its pod was evicted by request, as when a node is drained{detail}.", "Nothing: it starts elsewhere.", _I),
    Cause("disrupted", "DisruptionTarget: other reasons", "The cluster took its pod away: {detail}.", "Nothing: it starts elsewhere.", _I),
    Cause("node_refused", "Admission by the kubelet failed", "Node {node} refused its pod: {detail}.", "Nothing: it starts elsewhere.", _I),
    Cause("node_lost", "NodeLost, ContainerStatusUnknown, node not ready", "Node {node}, where it ran, no longer answers{detail}.",
          "Look at the node; the task starts elsewhere.", _I),
    Cause("deleted", "Pod deleted",
          "Its pod was deleted{detail}.", "If nobody did that by hand: look for jobs that clean up this namespace.", _I),
    Cause("gone", "Pod missing", "Its pod does not exist any more.", "It was deleted, or its node is gone; the task starts again.", _I),
    # it could not be created
    Cause("quota", "403 exceeded quota", "It waits for room in the namespace's quota: {detail}.",
          "It goes on when other pods end; raise the ResourceQuota to run more at once.", None),
    Cause("busy", "429, 5xx", "The API server asks to wait: {detail}.", "It goes on by itself.", None),
    Cause("away", "No answer", "The API server cannot be reached: {detail}.", "It goes on when the API server is back.", None),
    Cause("forbidden", "401, 403, 404", "The API server does not let Trackside create its pod: {detail}.",
          "Give the service account of `trackside executor` the rights in docs/kubernetes.md; it goes on by itself then.", None),
    Cause("invalid", "400, 422, 403 by policy",
          "The API server refuses its pod: {detail}.", "Correct pod_override or the pod template.", _U),
)}  # fmt: skip
"""code → cause."""


def table() -> str:
    """The table in Markdown."""
    budgets = {Fault.USER: "the task's retries", Fault.INFRA: "none of the task's retries", None: "waits"}
    rows = ["| code | seen as | what the page says | charged to | what to do |", "|---|---|---|---|---|"]
    for cause in CAUSES.values():
        budget = budgets[cause.fault]
        if cause.patience:
            budget = f"waits, for `{SETTINGS[cause.patience]}` at most; then {budgets[cause.after]}"
        says = _words(cause.says)
        rows.append(f"| `{cause.code}` | {cause.when} | {says} | {budget} | {_words(cause.advice)} |")
    return "\n".join(rows) + "\n"


SETTINGS = {"pending_s": "TRACKSIDE_KUBERNETES_PENDING_TIMEOUT", "pull_s": "TRACKSIDE_KUBERNETES_PULL_TIMEOUT"}


def _words(text: str) -> str:
    return (
        text.replace("{detail}", "…").replace("{limit}", " of …").replace("{code}", "…").replace("{container}", "…").replace("{node}", "…")
    )


if __name__ == "__main__":
    print(table(), end="")  # noqa: T201 - a command
