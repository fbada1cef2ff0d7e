"""What a task may not ask of its pod: a way to the node. For `builder`; by Kubernetes' "baseline" Pod Security Standard
(https://kubernetes.io/docs/concepts/security/pod-security-standards/). The site's own template may hold all of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
_HOST = ("hostNetwork", "hostPID", "hostIPC")
_CAPABILITIES = frozenset({
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP",
    "SETUID", "SYS_CHROOT",
})  # fmt: skip
"""Those a container has anyway in most places."""
_SYSCTLS = frozenset({
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start", "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes",
})  # fmt: skip


def beyond(pod: Mapping[str, Any]) -> str | None:
    """The first wish of a pod (or a part of one) that leads out of it, as it is written there; None if there is none."""
    return next(_wishes(_map(pod.get("spec"))), None)


def added(before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """The first wish of `after` that `before` did not have in the same place, for the same thing; None if there is none."""
    known = set(_placed(_map(before.get("spec"))))
    return next((wish for place, wish in _placed(_map(after.get("spec"))) if (place, wish) not in known), None)


def _placed(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each wish with what it is about, so that one that the site allowed elsewhere does not count for another container or path."""
    for wish in _wishes({name: value for name, value in spec.items() if name not in ("volumes", *_CONTAINERS)}):
        yield json.dumps(spec.get("securityContext"), sort_keys=True, default=str) if wish not in _HOST else "", wish
    for volume in _maps(spec.get("volumes")):
        for wish in _wishes({"volumes": [volume]}):
            yield json.dumps(volume, sort_keys=True, default=str), wish
    for kind in _CONTAINERS:
        for container in _maps(spec.get(kind)):
            for wish in _wishes({kind: [container]}):
                place = [kind, container.get("name"), container.get("image"), container.get("command"), container.get("args")]
                yield json.dumps(place, default=str), wish


def _wishes(spec: Mapping[str, Any]) -> Iterator[str]:
    yield from (name for name in _HOST if spec.get(name))
    for volume in _maps(spec.get("volumes")):
        if volume.get("hostPath") is not None:
            yield f"the hostPath volume {volume.get('name')}"
    context = _map(spec.get("securityContext"))
    yield from _of_context(context)
    for sysctl in _maps(context.get("sysctls")):
        if sysctl.get("name") not in _SYSCTLS:
            yield f"the sysctl {sysctl.get('name')}"
    for kind in _CONTAINERS:
        for container in _maps(spec.get(kind)):
            yield from _of_container(container)


def _of_container(container: Mapping[str, Any]) -> Iterator[str]:
    context = _map(container.get("securityContext"))
    yield from _of_context(context)
    if context.get("privileged"):
        yield "a privileged container"
    if context.get("procMount") not in (None, "Default"):
        yield "an unmasked /proc"
    for name in _map(context.get("capabilities")).get("add") or ():
        if str(name).upper().removeprefix("CAP_") not in _CAPABILITIES:
            yield f"the capability {name}"
    for port in _maps(container.get("ports")):
        if port.get("hostPort"):
            yield f"the port {port['hostPort']} of its node"


def _of_context(context: Mapping[str, Any]) -> Iterator[str]:
    for profile in ("seccompProfile", "appArmorProfile"):
        if _map(context.get(profile)).get("type") == "Unconfined":
            yield f"an unconfined {profile}"
    if _map(context.get("windowsOptions")).get("hostProcess"):
        yield "a host process"
    if _map(context.get("seLinuxOptions")).get("user") or _map(context.get("seLinuxOptions")).get("role"):
        yield "another SELinux user or role"


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _maps(value: Any) -> list[Mapping[str, Any]]:
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list | tuple) else []
