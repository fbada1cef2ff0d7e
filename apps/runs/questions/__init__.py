"""Human in the loop: tasks that ask people, what they asked, and what was answered.

`models` – one row per question; `rows` – written with the report that asks; `answering` – a person's answer, or time that ran
out, lets the task go on. REST: `apps/runs/api/hitl.py`. The operators are `trackside.sdk.operators.hitl`.
"""
