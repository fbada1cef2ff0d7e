"""Beside the DAG file: it reaches the pods with it."""

GREETING = "good morning from a pod"
