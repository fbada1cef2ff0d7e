"""Which files of a DAG folder may hold DAGs: the walk is `trackside.runner.parsing.scanning`, shared with `trackside dags check`."""

from __future__ import annotations

from trackside.runner.parsing.scanning import Scan, Scanner, Seen, Signature, signature_of

__all__ = ["Scan", "Scanner", "Seen", "Signature", "signature_of"]
