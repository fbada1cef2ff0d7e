"""Names and meaning of all metrics, made of `facts`. `airflow_…` where Airflow has a metric that means the same (its name with
dots as underscores, times in seconds), `trackside_…` for the rest; docs/operations.md is the guide.

Everything here is about the whole site and the same on every web process: aggregate with `max` over instances. What one web
process says of itself (`trackside_http_…`, `process_…`) comes from `door`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from django.conf import settings
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric, SummaryMetricFamily

from apps.runs.metrics.facts import Facts, Process
from apps.runs.metrics.rollup import BOUNDS
from trackside.executors import registry

KINDS = ("scheduler", "dag_processor", "triggerer", "executor", "worker")
_TICK = ("created", "begun", "planned", "scheduled", "admitted", "lost")


def families(facts: Facts) -> Iterator[Metric]:
    """All metrics of the site."""
    yield from _site(facts)
    yield from _processes(facts.processes)
    yield from _schedulers([p for p in facts.processes if p.kind == "scheduler" and p.alive])
    yield from _tasks(facts)
    yield from _pools(facts)
    yield from _runs(facts)
    yield from _executors(facts)
    yield from _history(facts)


def gauge(name: str, text: str, labels: Sequence[str], values: Mapping[Any, Any]) -> Metric:
    """A gauge of values by labels."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, float(value))
    return family


def counter(name: str, text: str, labels: Sequence[str], values: Mapping[Any, Any]) -> Metric:
    """A counter of values by labels; its samples end in `_total`."""
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, float(value))
    return family


def _one(name: str, text: str, value: Any) -> Metric:
    return gauge(name, text, (), {(): value or 0})


def _site(facts: Facts) -> Iterator[Metric]:
    dags, paused, problems, triggers, errands, deadlines, quiet, size, connections, most, transaction = facts.site
    yield gauge("trackside_build_info", "1; the version is the label.", ("version",), {(settings.VERSION,): 1})
    yield _one("airflow_dagbag_size", "DAGs that have a file.", dags)
    yield _one("trackside_dags_paused", "Of these, paused ones.", paused)
    yield _one("airflow_dag_processing_import_errors", "DAG files that do not load.", problems)
    yield _one("trackside_triggers", "Triggers that deferred tasks and assets wait for.", triggers)
    yield _one("trackside_errands_open", "Callbacks, listeners and deadline callbacks that have not run yet.", errands)
    yield _one("trackside_deadlines_pending", "Deadlines of runs that are not over.", deadlines)
    yield _one("trackside_last_event_age_seconds", "Since the last change of anything.", quiet)
    yield _one("trackside_database_size_bytes", "Size of the database.", size)
    yield _one("trackside_database_connections", "Connections to it, of everybody.", connections)
    yield _one("trackside_database_connections_max", "How many the server allows.", most)
    yield _one(
        "trackside_database_oldest_transaction_seconds", "Age of the oldest open transaction; live pages lag behind it.", transaction
    )


def _processes(processes: Sequence[Process]) -> Iterator[Metric]:
    alive = {(kind,): 0 for kind in KINDS}
    for one in processes:
        alive[one.kind,] = alive.get((one.kind,), 0) + one.alive
    yield gauge("trackside_processes", "Processes whose lease holds.", ("kind",), alive)
    labels, by = ("kind", "name", "hostname", "pid"), {(p.kind, p.name, p.hostname, str(p.pid)): p for p in processes}
    yield gauge(
        "trackside_process_up",
        "1: it answers; 0: its lease ran out and it did not say goodbye.",
        labels,
        {k: p.alive for k, p in by.items()},
    )
    yield gauge("trackside_process_heartbeat_age_seconds", "Since its last sign of life.", labels, {k: p.age for k, p in by.items()})
    yield gauge("trackside_process_start_time_seconds", "When it started.", labels, {k: p.started for k, p in by.items()})
    told = {k: p for k, p in by.items() if "cpu_seconds" in p.info}
    yield counter("trackside_process_cpu_seconds", "CPU time it used.", labels, {k: p.info["cpu_seconds"] for k, p in told.items()})
    yield gauge("trackside_process_resident_bytes", "Memory it holds.", labels, {k: p.info.get("rss_bytes", 0) for k, p in told.items()})
    workers = {
        (p.name, p.hostname, ",".join(p.queues), str(p.info.get("executor", registry.LOCAL))): p
        for p in processes
        if p.kind == "worker" and p.alive
    }
    yield gauge(
        "trackside_worker_slots",
        "Tasks a worker may run at once.",
        ("name", "hostname", "queues", "executor"),
        {k: p.slots for k, p in workers.items()},
    )
    yield gauge(
        "trackside_worker_busy_slots",
        "Tasks it runs now.",
        ("name", "hostname", "queues", "executor"),
        {k: p.busy for k, p in workers.items()},
    )
    triggerers = {(p.hostname, p.name): p for p in processes if p.kind == "triggerer" and p.alive}
    running = {k: sum(v for v in p.info.values() if isinstance(v, int)) for k, p in triggerers.items()}
    yield gauge("airflow_triggers_running", "Triggers a triggerer waits for.", ("hostname", "name"), running)
    yield gauge(
        "airflow_triggerer_capacity_left",
        "How many more it takes.",
        ("hostname", "name"),
        {k: p.slots - running[k] for k, p in triggerers.items()},
    )
    parsers = {(p.hostname, p.name): p.info for p in processes if p.kind == "dag_processor" and p.alive}
    for key, text in (("files", "DAG files it knows"), ("parsing", "Files being parsed")):
        yield gauge(f"trackside_dag_processor_{key}", f"{text}.", ("hostname", "name"), {k: i.get(key, 0) for k, i in parsers.items()})
    for key, text in (("scans", "Looks at the folders"), ("parsed", "Files parsed"), ("stored", "Parses that changed something")):
        yield counter(f"trackside_dag_processor_{key}", f"{text}.", ("hostname", "name"), {k: i.get(key, 0) for k, i in parsers.items()})


def _schedulers(schedulers: Sequence[Process]) -> Iterator[Metric]:
    by = {(p.hostname, p.name, str(p.pid)): p.info for p in schedulers}
    labels = ("hostname", "name", "pid")
    yield counter("airflow_scheduler_heartbeat", "Passes of a scheduler.", labels, {k: i.get("ticks", 0) for k, i in by.items()})
    family = SummaryMetricFamily("airflow_scheduler_scheduler_loop_duration_seconds", "How long a pass takes.", labels=labels)
    for key, info in by.items():
        family.add_metric(key, info.get("ticks", 0), info.get("tick_seconds", 0.0))
    yield family
    for name in _TICK:
        yield counter(
            f"trackside_scheduler_{name}", f"Runs or tasks {name} by a scheduler.", labels, {k: i.get(name, 0) for k, i in by.items()}
        )


def _tasks(facts: Facts) -> Iterator[Metric]:
    by_queue: dict[str, dict[tuple[str, ...], int]] = {s: defaultdict(int) for s in ("scheduled", "queued", "running", "deferred")}
    reasons: dict[tuple[str, ...], int] = defaultdict(int)
    ages: dict[tuple[str, ...], float] = defaultdict(float)
    states: dict[tuple[str, ...], int] = defaultdict(int)
    for state, pool, queue, _, reason, count, _, scheduled, _ in facts.tasks:
        states[state,] += count
        if state in by_queue:
            by_queue[state][queue,] += count
        if state != "running":
            reasons[state, reason or "none"] += count
        if state == "scheduled" and scheduled is not None:
            ages[pool,] = max(ages[pool,], float(scheduled))
    for state, values in by_queue.items():
        yield gauge(f"airflow_ti_{state}", f"Task instances that are {state}.", ("queue",), values)
    yield gauge("trackside_task_instances", "Task instances that hold or want a slot, by state.", ("state",), states)
    yield gauge(
        "trackside_waiting_tasks",
        "Task instances that do not run, by why (the code of the sentence on their page).",
        ("state", "reason"),
        reasons,
    )
    yield gauge("trackside_scheduled_age_seconds", "How long the oldest task waits for a slot.", ("pool",), ages)


def _pools(facts: Facts) -> Iterator[Metric]:
    used: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    starving: dict[str, int] = defaultdict(int)
    for state, pool, _, _, reason, count, slots, *_ in facts.tasks:
        used[pool]["deferred" if state == "awaiting_input" else "running" if state == "restarting" else state] += slots
        if state == "scheduled" and reason == "pool_full":
            starving[pool] += count
    label = ("pool_name",)
    for word in ("queued", "running", "deferred", "scheduled"):
        yield gauge(f"airflow_pool_{word}_slots", f"Slots of {word} tasks.", label, {(name,): used[name][word] for name, *_ in facts.pools})
    opened = {}
    for name, slots, deferred in facts.pools:
        taken = used[name]["queued"] + used[name]["running"] + (used[name]["deferred"] if deferred else 0)
        opened[name,] = slots - taken if slots >= 0 else float("inf")
    yield gauge("airflow_pool_open_slots", "Free slots.", label, opened)
    yield gauge(
        "airflow_pool_starving_tasks",
        "Tasks that wait for a slot of the pool.",
        label,
        {(name,): starving[name] for name, *_ in facts.pools},
    )


def _runs(facts: Facts) -> Iterator[Metric]:
    counts: dict[tuple[str, ...], int] = defaultdict(int)
    reasons: dict[tuple[str, ...], int] = defaultdict(int)
    oldest = overdue = 0.0
    troubled = running = 0
    for state, run_type, reason, count, age, late, troubles in facts.runs:
        counts[state, run_type] += count
        troubled += troubles
        if state == "queued":
            reasons[reason or "none",] += count
            oldest = max(oldest, float(age or 0))
        else:
            running += count
            overdue = max(overdue, float(late or 0))
    yield gauge("trackside_runs", "Runs that are not over.", ("state", "run_type"), counts)
    yield _one("airflow_scheduler_dagruns_running", "Runs that are running.", running)
    yield gauge("trackside_waiting_runs", "Queued runs, by why they have not begun.", ("reason",), reasons)
    yield _one("trackside_run_queue_age_seconds", "How long the oldest queued run waits.", oldest)
    yield _one("trackside_planning_overdue_seconds", "By how much the run that should be planned first is late.", overdue)
    yield _one("trackside_runs_in_trouble", "Runs whose planning fails and is tried again.", troubled)


def _executors(facts: Facts) -> Iterator[Metric]:
    queued: dict[tuple[str, ...], int] = {(e.alias,): 0 for e in settings.EXECUTORS}
    tries: dict[tuple[str, ...], int] = defaultdict(int)
    ages: dict[tuple[str, ...], float] = {}
    unsent: dict[tuple[str, ...], int] = {(e.alias,): 0 for e in settings.EXECUTORS if e.kind != registry.LOCAL}
    for executor, queue, _, count, age, waiting in facts.tries:
        queued[executor,] = queued.get((executor,), 0) + count
        tries[queue, executor] += count
        ages[queue, executor] = float(age or 0)
        if (executor,) in unsent:
            unsent[executor,] += waiting
    running: dict[tuple[str, ...], int] = {(e.alias,): 0 for e in settings.EXECUTORS}
    default = settings.EXECUTORS[0].alias
    for state, _, _, name, _, count, *_ in facts.tasks:
        if state in ("running", "restarting"):
            alias = settings.EXECUTOR_NAMES.get(name, name) if name else default
            running[alias,] = running.get((alias,), 0) + count
    slots: dict[tuple[str, ...], int] = defaultdict(int)
    for one in facts.processes:
        if one.kind == "worker" and one.alive:
            slots[str(one.info.get("executor", registry.LOCAL)),] += one.slots - one.busy
    yield gauge("airflow_executor_queued_tasks", "Tries that wait for a place to run.", ("executor",), queued)
    yield gauge("airflow_executor_running_tasks", "Tasks that run.", ("executor",), running)
    yield gauge("airflow_executor_open_slots", "Free slots of living workers; pods have none.", ("executor",), slots)
    yield gauge("trackside_queued_tries", "Tries that wait for a worker or pod.", ("queue", "executor"), tries)
    yield gauge("trackside_queue_age_seconds", "How long the oldest of them waits.", ("queue", "executor"), ages)
    yield gauge("trackside_unsubmitted_tries", "Tries that have not been brought to their executor.", ("executor",), unsent)


def _history(facts: Facts) -> Iterator[Metric]:
    by_name: dict[str, list[tuple[str, str, int, float, list[int] | None]]] = defaultdict(list)
    for name, *row in facts.tallies:
        by_name[name].append(tuple(row))  # type: ignore[arg-type]
    finished = {(dag, state): n for dag, state, n, _, _ in by_name["ti_finish"]}
    yield counter("airflow_ti_start", "Starts of tasks, of every try.", ("dag_id",), {(d,): n for d, _, n, _, _ in by_name["ti_start"]})
    yield counter("airflow_ti_finish", "Ends of tasks by state.", ("dag_id", "state"), finished)
    for word, name in (("success", "successes"), ("failed", "failures")):
        yield counter(f"airflow_ti_{name}", f"Tasks that ended in {word}.", (), {(): sum(n for (_, s), n in finished.items() if s == word)})
    lost = by_name["try_lost"]
    yield counter(
        "airflow_task_instances_without_heartbeats_killed", "Tries lost with their machine.", (), {(): sum(n for _, _, n, _, _ in lost)}
    )
    yield counter("trackside_tries_lost", "Tries lost with their machine.", ("dag_id", "executor"), {(d, e): n for d, e, n, _, _ in lost})
    begun = by_name["run_begun"]
    yield counter("trackside_runs_begun", "Runs that began.", ("dag_id", "run_type"), {(d, t): n for d, t, n, _, _ in begun})
    assets = sum(n for _, t, n, _, _ in begun if t == "asset_triggered")
    yield counter("airflow_asset_triggered_dagruns", "Runs that news of assets began.", (), {(): assets})
    for state in ("success", "failed"):
        rows = [r for r in by_name["run_duration"] if r[1] == state]
        yield _summary(f"airflow_dagrun_duration_{state}_seconds", f"Duration of runs that ended in {state}.", rows)
    yield _summary(
        "airflow_dagrun_schedule_delay_seconds",
        "From a scheduled run's due moment to its begin.",
        [r for r in by_name["schedule_delay"] if r[0]],
    )
    yield _summary("airflow_task_duration_seconds", "Duration of tries.", by_name["task_duration"], ("dag_id", "state"))
    for name, full, text, label in _HISTOGRAMS:
        yield _histogram(full, text, label, [r for r in by_name[name] if not r[0]])


_HISTOGRAMS = (
    ("task_gap", "trackside_task_gap_seconds", "From the end of the last task directly above to the start of a task.", ""),
    ("task_duration", "trackside_task_duration_seconds", "Duration of tries, of the whole site.", ""),
    ("schedule_delay", "trackside_schedule_delay_seconds", "From a scheduled run's due moment to its begin, of the whole site.", ""),
    ("queued_duration", "airflow_task_queued_duration_seconds", "From admission to the start: waiting for a worker or pod.", "queue"),
    ("scheduled_duration", "airflow_task_scheduled_duration_seconds", "From met dependencies to admission: waiting for slots.", "queue"),
)  # fmt: skip


def _summary(name: str, text: str, rows: Sequence[tuple[Any, ...]], labels: Sequence[str] = ("dag_id",)) -> Metric:
    family = SummaryMetricFamily(name, text, labels=labels)
    for dag, label, count, total, _ in rows:
        if dag:
            family.add_metric((dag, label)[: len(labels)], count, total)
    return family


def _histogram(name: str, text: str, label: str, rows: Sequence[tuple[Any, ...]]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=(label,) if label else ())
    if not label and not rows:
        rows = [("", "", 0, 0.0, None)]
    edges = [*(repr(b) for b in BOUNDS), "+Inf"]
    for _, value, _, total, buckets in rows:
        counts = accumulate(buckets or [0] * len(edges))
        family.add_metric((value,) if label else (), list(zip(edges, counts, strict=True)), total)
    return family
