"""State stores: small JSON values that a task instance keeps over its tries, and an asset over all runs (rows 1.248-1.251)."""
