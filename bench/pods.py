"""The section about tasks in pods: what Trackside adds to a bare pod of the same image on the same cluster in the same run.

Registered in `sections.SECTIONS`; it starts a stack of its own (`tests.executors.world`) and gives plain numbers. Where no
cluster can be had (see `tools/left-out`), it says so and nothing else. A task's pod is timed from the moment its try is taken
for submission, just before its secret and its pod are created; all clocks are this machine's, so the node must be too.
"""

from __future__ import annotations

import shutil
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import arithmetic, machine
from tests.executors import world
from tests.support import server as support

if TYPE_CHECKING:
    from bench.sections import Bench

CHAIN, FAN, WARM, CHAIN_LENGTH, WARM_LENGTH = "bench_pods_chain", "bench_pods_fan", "bench_pods_warm", 10, 40
BARE = 5
"""Bare pods, one after the other, per repetition."""
TIMEOUT_S = 300.0
_DAGS = '''"""Written by bench/pods.py."""
import os, time
from airflow.sdk import dag, task

POD = {"pod_override": {"spec": {"containers": [{"name": "base", "volumeMounts": [{"name": "trace", "mountPath": "/trace"}]}],
                                 "volumes": [{"name": "trace", "hostPath": {"path": FOLDER}}]}}}

def note(name, start):
    file = os.open("/trace/spans", os.O_WRONLY | os.O_APPEND)
    os.write(file, f"{name} {start:.6f} {time.time():.6f}\\n".encode())
    os.close(file)

@task(executor_config=POD)
def step(name):
    note(name, time.time())

@dag(dag_id="CHAIN_ID", schedule=None, catchup=False)
def chain():
    before = None
    for i in range(LENGTH):
        this = step.override(task_id=f"t{i:02d}")(f"t{i:02d}")
        if before is not None:
            before >> this
        before = this

@dag(dag_id="WARM_ID", schedule=None, catchup=False)
def warm():
    before = None
    for i in range(WARM_LENGTH):
        this = step.override(task_id=f"w{i:02d}", executor_config={**POD, "reuse": True})(f"w{i:02d}")
        if before is not None:
            before >> this
        before = this

@dag(dag_id="FAN_ID", schedule=None, catchup=False, max_active_tasks=1000)
def fan():
    for i in range(WIDTH):
        step.override(task_id=f"n{i:03d}")(f"n{i:03d}")

chain()
warm()
fan()
'''
_BARE = (
    "import os, time; start = time.time(); file = os.open('/trace/bare', os.O_WRONLY | os.O_APPEND); "
    "os.write(file, f'{os.environ[\"HOSTNAME\"]} {start:.6f} {time.time():.6f}\\n'.encode())"
)


def measure_pods(bench: Bench) -> dict[str, Any]:
    """Create → first user line, hop of a chain, and pods per second, each beside bare pods."""
    if not world.can_have_kubernetes():
        return {"left_out": "no cluster: it takes root on Debian and Go 1.24 (make cluster), or KUBECONFIG"}
    width = 10 if bench.quick else 40
    with world.kubernetes() as cluster:
        folder = Path("/var/tmp", f"bench-{cluster.namespace}")  # noqa: S108 - the name is ours, and the node must see it
        folder.mkdir(mode=0o755)
        for name in ("spans", "bare"):
            (folder / name).touch()
            (folder / name).chmod(0o666)  # tasks are not root
        text = _DAGS.replace("FOLDER", repr(str(folder))).replace("WARM_LENGTH", str(WARM_LENGTH)).replace("LENGTH", str(CHAIN_LENGTH))
        text = text.replace("WIDTH", str(width)).replace("CHAIN_ID", CHAIN).replace("FAN_ID", FAN).replace("WARM_ID", WARM)
        try:
            with world.site({"pods.py": text}, ["kubernetes"], cluster=cluster) as site:
                return _measure(bench, site, cluster, folder, width)
        finally:
            shutil.rmtree(folder)


def _measure(bench: Bench, site: world.Site, cluster: world.Cluster, folder: Path, width: int) -> dict[str, Any]:
    from bench import sections

    here = sections.Bench(site.server, folder / "spans", bench.reps, bench.quick)
    bare, lives, gaps, warm_gaps, rates, bare_rates, cpu, bare_cpu = [], [], [], [], [], [], [], []
    for number in range(1 + (1 if bench.quick else min(bench.reps, 3))):
        alone = [_bare(cluster, folder, f"one-{number}-{i}", 1)["first_s"] for i in range(BARE)]
        chain = sections.run_all(here, [CHAIN], CHAIN_LENGTH)
        if number == 0:  # caches of the node, connections, prepared statements
            continue
        bare += alone
        lives += _lives(site, CHAIN, chain["spans"])
        gaps += arithmetic.gaps(chain["spans"])
        warm_gaps += arithmetic.gaps(sections.run_all(here, [WARM], WARM_LENGTH)["spans"])[1:]  # the second try finds the file imported
        many = _bare(cluster, folder, f"many-{number}", width)
        bare_rates.append(width / many["wall_s"])
        bare_cpu.append(many["cpu_s"] / width)
        fan = sections.run_all(here, [FAN], width)
        submitted = min(life["submitted"] for life in _lives(site, FAN, fan["spans"]))
        rates.append(width / (max(span.end for span in fan["spans"]) - submitted))
        cpu.append((fan["cpu_s"] + fan["other_load"] * fan["seconds"]) / width)
    first, floor = (statistics.median(values) for values in ([life["first_s"] for life in lives], bare))
    return {
        "bare_first_ms": round(1000 * floor, 1), "first_ms": round(1000 * first, 1), "overhead_ms": round(1000 * (first - floor), 1),
        "to_claim_ms": round(1000 * statistics.median(life["claim_s"] for life in lives), 1),
        "claim_to_line_ms": round(1000 * statistics.median(life["first_s"] - life["claim_s"] for life in lives), 1),
        "hop_ms": round(1000 * statistics.median(gaps), 1), "pods": width,
        "warm_hop_ms": round(1000 * statistics.median(warm_gaps), 1),
        "warm_hop_p95_ms": round(1000 * statistics.quantiles(warm_gaps, n=20)[-1], 1),
        "bare_pods_per_s": round(statistics.median(bare_rates), 2), "pods_per_s": round(statistics.median(rates), 2),
        "share": round(statistics.median(rates) / statistics.median(bare_rates), 2),
        "bare_cpu_ms_per_pod": round(1000 * statistics.median(bare_cpu)), "cpu_ms_per_pod": round(1000 * statistics.median(cpu)),
    }  # fmt: skip


def _lives(site: world.Site, dag_id: str, spans: list[arithmetic.Span]) -> list[dict[str, float]]:
    """Of each span of the newest run: when its try was submitted, seconds until it was claimed and until its first line."""
    rows = site.sql("SELECT ti.task_id, extract(epoch FROM t.submitted_at)::float8, extract(epoch FROM t.start_date)::float8 "
                    "FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id JOIN runs_run r ON r.id = ti.run_id "
                    "WHERE r.id = (SELECT max(id) FROM runs_run WHERE dag_id = %s) ORDER BY t.number", dag_id)  # fmt: skip
    of = {task: (submitted, claimed) for task, submitted, claimed in rows}
    return [
        {"submitted": of[span.name][0], "claim_s": of[span.name][1] - of[span.name][0], "first_s": span.start - of[span.name][0]}
        for span in spans
    ]


def _bare(cluster: world.Cluster, folder: Path, name: str, count: int) -> dict[str, float]:
    """So many pods of the task image at once that only note themselves: seconds until the first and until all have, and the CPU of the
    whole machine meanwhile. They are deleted afterwards."""
    names = [f"bare-{name}-{i}" for i in range(count)]
    meter = machine.Meter(set())
    began = time.time()
    for one in names:
        cluster.api.create("pods", cluster.namespace, _pod(one, cluster.image, folder))

    def spans() -> list[arithmetic.Span]:
        return [s for s in arithmetic.parse_trace((folder / "bare").read_text()) if s.name in names]

    support.until(lambda: len(spans()) >= count, f"{count} bare pods ran", TIMEOUT_S, pause=0.02)
    used = meter.stop()
    found = spans()
    for one in names:
        cluster.api.delete("pods", cluster.namespace, one)
    support.until(lambda: not cluster.pods(bare="1"), "the bare pods were gone", TIMEOUT_S)
    return {
        "first_s": found[0].start - began,
        "wall_s": max(s.end for s in found) - began,
        "cpu_s": used["cpu_s"] + used["other_load"] * used["seconds"],
    }


def _pod(name: str, image: str, folder: Path) -> dict[str, Any]:
    base = {"name": "base", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["python3", "-c", _BARE],
            "volumeMounts": [{"name": "trace", "mountPath": "/trace"}]}  # fmt: skip
    return {
        "metadata": {"name": name, "labels": {"bare": "1"}},
        "spec": {
            "restartPolicy": "Never", "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 0, "containers": [base],
            "volumes": [{"name": "trace", "hostPath": {"path": str(folder)}}],
        },
    }  # fmt: skip
