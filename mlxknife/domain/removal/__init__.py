"""Removing models, and unused data of the cache."""
