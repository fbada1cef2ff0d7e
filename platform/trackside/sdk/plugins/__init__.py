"""Plugins, listeners and cluster policies: user code that every process with user code loads (rows 1.262-1.267).

* `base` – `AirflowPlugin`, what a plugin class looks like · `loading` – folder and entry points → `Registry`
* `hooks` – `hookimpl` markers and calling what carries them · `policies` – `airflow_local_settings` and `airflow.policy`

Loaded in parse, task, trigger and callback processes only (`loading.load`), never in the server's own.
"""
