"""The vocabulary and the rules of Trackside, pure: no I/O, no clock, no Django.

Everything that decides lives here and can be tested without a database: states and their legal moves, the DAG graph,
trigger rules, retry delays, timetables and `plan(snapshot, now)`. The server (`apps/`) loads and stores, the SDK
(`trackside.sdk`) describes, the runner (`trackside.runner`) executes; all three speak in the types of this package.
"""
