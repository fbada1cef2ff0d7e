"""What processes cost, read from /proc: CPU of process trees including children that are gone, and shared-out memory."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Process:
    """One line of /proc/<pid>/stat. `cpu`: seconds, with those of children it has reaped."""

    parent: int
    session: int
    cpu: float


def parse_stat(text: str) -> Process:
    """Fields of /proc/<pid>/stat; the command's name may contain spaces and brackets."""
    f = text.rpartition(")")[2].split()
    return Process(parent=int(f[1]), session=int(f[3]), cpu=sum(map(int, f[11:15])) / TICK)


def processes() -> dict[int, Process]:
    """All processes of the machine."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                found[int(folder.name)] = parse_stat((folder / "stat").read_text())
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def tree(all_of_them: dict[int, Process], roots: Collection[int]) -> set[int]:
    """The roots and whatever descends from them or belongs to a session that one of them leads."""
    chosen = {pid for pid, p in all_of_them.items() if pid in roots or p.session in roots}
    while more := {pid for pid, p in all_of_them.items() if p.parent in chosen} - chosen:
        chosen |= more
    return chosen


def pss_mib(pid: int) -> float:
    """Proportional set size: pages that several processes share are divided among them, so values add up."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        pass
    return 0.0


def _busy() -> float:
    """CPU seconds of the whole machine that were not idle."""
    f = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (sum(f[:8]) - f[3] - f[4]) / TICK


class Meter:
    """CPU seconds of process trees between two moments, and the load of everything else meanwhile."""

    def __init__(self, roots: Collection[int], parts: Mapping[str, int] | None = None) -> None:
        self.roots = set(roots)
        self.parts = dict(parts or {})
        self.began = self._read()
        self.parts_began = self._read_parts()

    def _read(self) -> tuple[float, float, float, float]:
        found = processes()
        own = sum(found[pid].cpu for pid in tree(found, self.roots))
        return time.monotonic(), own, _busy(), sum(os.times()[:2])

    def _read_parts(self) -> dict[str, float]:
        found = processes()
        return {name: sum(found[p].cpu for p in tree(found, {pid})) for name, pid in self.parts.items()}

    def of_parts(self) -> dict[str, float]:
        """CPU seconds since the start of each named tree (by the process id it was given as)."""
        return {name: round(cpu - self.parts_began[name], 3) for name, cpu in self._read_parts().items()}

    def stop(self) -> dict[str, float]:
        """`seconds`, `cpu_s` of the trees, `other_load`: cores that neither they nor this process used."""
        seconds, own, busy, mine = (b - a for a, b in zip(self.began, self._read(), strict=True))
        other = max(0.0, busy - own - mine) / seconds
        return {"seconds": round(seconds, 3), "cpu_s": round(own, 3), "other_load": round(other, 2)}


def footprint(roots: Collection[int], seconds: float) -> dict[str, float]:
    """Memory at the end and CPU over `seconds` of process trees that are left alone."""
    meter = Meter(roots)
    time.sleep(seconds)
    used = meter.stop()
    pids = tree(processes(), roots)
    return {
        "processes": len(pids),
        "pss_mib": round(sum(map(pss_mib, pids)), 1),
        "cpu_percent": round(100 * used["cpu_s"] / used["seconds"], 2),
        "seconds": used["seconds"],
        "other_load": used["other_load"],
    }
