"""A second opinion on how a run unfolds: slow, obvious, written from the documentation without looking at the planner.

It knows nothing of graphs or order: it asks every task again and again until nothing changes.
"""

from __future__ import annotations

from trackside.core.spec import DagSpec

DONE = ("success", "failed", "skipped", "upstream_failed")


class NaiveRun:
    """States by task id; `settle` moves everything that may move without a task ending."""

    def __init__(self, spec: DagSpec):
        self.tasks = {t.task_id: t for t in spec.tasks}
        self.parents = {t: [p.task_id for p in spec.tasks if t in p.downstream] for t in self.tasks}
        self.states = dict.fromkeys(self.tasks, "none")

    def settle(self) -> None:
        changed = True
        while changed:
            changed = False
            for task_id, task in self.tasks.items():
                if self.states[task_id] not in ("none", "up_for_retry"):
                    continue
                answer = self.ask(task.trigger_rule, [self.states[p] for p in self.parents[task_id]])
                if answer == "run":
                    answer = "running" if task.has_work else "success"
                    if not task.has_work and self.states[task_id] == "up_for_retry":
                        answer = "running"
                if answer is not None:
                    self.states[task_id] = answer
                    changed = True

    def ended(self, task_id: str, state: str) -> None:
        self.states[task_id] = state

    def outcome(self) -> str:
        leaves = [t for t, task in self.tasks.items() if not task.downstream]
        return "failed" if any(self.states[t] in ("failed", "upstream_failed") for t in leaves) else "success"

    @staticmethod
    def ask(rule: str, up: list[str]) -> str | None:
        """What becomes of a task whose parents are in these states; None: wait."""
        if not up or rule == "always":
            return "run"
        everyone = all(s in DONE for s in up)
        failed = "failed" in up or "upstream_failed" in up
        tests = {
            # rule: (when it becomes skipped, when upstream_failed, when it runs), asked in this order
            "all_success": (not failed and "skipped" in up, failed, all(s == "success" for s in up)),
            "all_failed": ("success" in up or "skipped" in up, False, everyone),
            "all_done": (False, False, everyone),
            "all_skipped": ("success" in up or failed, False, everyone),
            "all_done_min_one_success": ("skipped" in up, everyone and "success" not in up, everyone),
            "one_success": (all(s == "skipped" for s in up), everyone and "success" not in up, "success" in up),
            "one_failed": (everyone and not failed, False, failed),
            "one_done": (everyone and "success" not in up and "failed" not in up, False, "success" in up or "failed" in up),
            "none_failed": (False, failed, everyone),
            "none_failed_min_one_success": (all(s == "skipped" for s in up), failed, everyone),
            "none_skipped": ("skipped" in up, False, everyone),
        }
        skip, fail, run = tests[rule]
        return "skipped" if skip else "upstream_failed" if fail else "run" if run else None
