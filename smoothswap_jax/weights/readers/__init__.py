"""Readers of published weight files that may be damaged or hostile; `checkpoint.read_checkpoint` is the entry point.

No file is passed to a loader that could run code or allocate as much memory as a header claims.
"""
