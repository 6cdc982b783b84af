"""Processes of this machine: fulfils ``ports.system.programs``."""
