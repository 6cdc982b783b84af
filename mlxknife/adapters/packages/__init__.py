"""Installed Python packages, read from their files: fulfils ``ports.runtime_inventory``."""
