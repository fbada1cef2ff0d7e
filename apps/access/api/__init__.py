"""REST operations of this app: signing in, connections, variables. Importing the modules registers them (see `apps.py` of runs)."""
