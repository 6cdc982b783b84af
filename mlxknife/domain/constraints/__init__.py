"""Constraints: what form an answer must have."""
