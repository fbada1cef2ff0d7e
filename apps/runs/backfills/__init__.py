"""Backfills: runs for slots of the past, made on request and kept under a limit of their own."""
