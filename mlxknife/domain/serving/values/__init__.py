"""Frozen values of serving."""
