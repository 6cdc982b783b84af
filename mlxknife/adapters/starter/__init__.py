"""Starter models from wheels of a Python package index: fulfils ``ports.hub.starters``."""
