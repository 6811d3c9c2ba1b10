"""Doubtful pixels of synthetic masks made unknown, doubtful pairs rejected; all of it can be undone."""
