"""The catalogue: what could run. DAGs, versions, source, files, import errors; the DAG processor fills it.

Knows nothing about runs (`apps.runs` asks it, never the other way round).
"""
