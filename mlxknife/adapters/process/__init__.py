"""Processes of this machine: fulfils ``ports.workers`` and ``ports.programs``."""
