"""Processes of this machine: fulfils ``ports.workers``."""
