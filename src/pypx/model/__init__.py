"""Frozen records and pure functions; no I/O."""
