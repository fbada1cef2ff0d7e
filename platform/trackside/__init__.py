"""Trackside: workflows written as Python files, run anywhere, watched live.

This package is what DAG authors, workers and pods install. It never imports Django; the site lives in `apps/`.
"""

__version__ = "0.1.0"
