"""Removing models from the cache."""
