"""What a DAG file written for Airflow 2 must change for Airflow 3: found, explained and, where it is safe, rewritten.

For `trackside migrate airflow2`. `rules` are the tables, `imports` and `rewrite` walk the file with LibCST (which keeps every
space and comment), `command` is the face. The file is only read, never imported.
"""

from __future__ import annotations
