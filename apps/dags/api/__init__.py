"""REST operations on what the DAG files said: DAGs, versions, sources, tasks, tags, favourites, import errors, warnings."""
