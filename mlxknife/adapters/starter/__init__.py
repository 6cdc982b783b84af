"""Wheels of a package index, for the models in them: fulfils ``ports.starters``."""
