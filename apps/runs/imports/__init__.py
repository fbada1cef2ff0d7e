"""Bringing over what another Airflow knows: connections, variables, pools, and the history of runs.

For `manage.py import_airflow` (`trackside import airflow`). `files` and `database` read (the database only ever reads), `compare`
says what is new, changed, the same or left out, and writes; `history` does runs. Repeating an import changes nothing.
"""
