"""What everything in this pod has used so far: the kernel's own account of its control group, else of our children."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def measure(environment: Mapping[str, str] = os.environ, cgroup: Path = CGROUP) -> dict[str, float]:
    """`memory_bytes` (the most at a time) and `cpu_seconds`. The control group is ours alone only in a pod."""
    if environment.get("KUBERNETES_SERVICE_HOST") and (found := _of_group(cgroup)):
        return found
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"memory_bytes": children.ru_maxrss * 1024, "cpu_seconds": round(children.ru_utime + children.ru_stime, 2)}


def since(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    """What one of several tries in a pod has used. Its most memory is known if it was more than what all before it used."""
    found = {"cpu_seconds": round(now["cpu_seconds"] - before.get("cpu_seconds", 0.0), 2)} if "cpu_seconds" in now else {}
    if now.get("memory_bytes", 0) > before.get("memory_bytes", 0):
        found["memory_bytes"] = now["memory_bytes"]
    return found


def _of_group(cgroup: Path) -> dict[str, float]:
    try:
        peak = int((cgroup / "memory.peak").read_text())
        stat = dict(line.split() for line in (cgroup / "cpu.stat").read_text().splitlines())
        return {"memory_bytes": peak, "cpu_seconds": round(int(stat["usage_usec"]) / 1e6, 2)}
    except (OSError, ValueError, KeyError):
        return {}  # cgroup v1, or none
