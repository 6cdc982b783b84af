"""Installed Python packages, read from their files: fulfils ``ports.system.runtime_inventory``."""
