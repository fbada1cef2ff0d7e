"""Whether the kernel killed something in our container for want of memory, and what the limit is. For `tries`.

In a pod, and under a limit of systemd's, the memory group is ours alone: a kill counted there since we began was of a task.
"""

from __future__ import annotations

import re
from pathlib import Path

_GROUPS = (
    # events, limit: the one hierarchy of newer kernels, and memory's own of older ones
    (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory.max")),
    (Path("/sys/fs/cgroup/memory/memory.oom_control"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")),
)


def kills() -> int:
    """Processes of our memory group that the kernel has killed so far; 0 where that cannot be read."""
    for events, _ in _GROUPS:
        try:
            if found := re.search(r"^oom_kill (\d+)$", events.read_text(encoding="ascii"), re.M):
                return int(found[1])
        except OSError:
            continue
    return 0


def limit() -> str:
    """The limit in words, such as ` of 200Mi`; "" if there is none."""
    for _, file in _GROUPS:
        try:
            text = file.read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < 1 << 50:
            return f" of {int(text) >> 20}Mi"
    return ""


_before = kills()


def was_killed_for_memory() -> bool:
    """Whether there was such a kill since the last time somebody asked."""
    global _before
    before, _before = _before, kills()
    return _before > before
