"""The machine, its environment variables and the config file: fulfils ``ports.system.system``, loads the settings."""
