"""The machine and its surroundings: fulfils ``ports.system`` and settles the settings."""
