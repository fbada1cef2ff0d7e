"""REST operations on what ran, runs and will run, and the URL table of the whole API (`urls.py`)."""
