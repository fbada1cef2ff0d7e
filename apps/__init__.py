"""The site: access (who), dags (what could run), runs (what ran and runs), ui (what a person sees)."""
