"""Domain calls of the ledger: what REST, pages, admin and commands may ask for. One face, one call.

Each call checks, acts in one transaction, writes its audit event and wakes whoever must act; it raises
`apps.runs.errors.ActionRefused` when it does nothing. `preview_*` answers from the same code that acts.
"""
