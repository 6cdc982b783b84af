"""Integrity: whether the files of a model are complete, consistent and verified."""
