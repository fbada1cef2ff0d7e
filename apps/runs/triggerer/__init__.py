"""Deferred tasks: what they wait for, and the process that waits.

Reading order: `rows` (a trigger is written with its deferral, deleted when nobody waits) → `service` (the triggerer: claims
triggers, hands them to its child, hears what they found) → `firing` (what was found moves the task, once) → `timeouts` (the
scheduler's duty: waits that took too long). The child that runs the triggers' code is `trackside.runner.triggers`.
"""
