"""Programs of this machine as child processes: fulfils ``ports.system.programs``, and restarts a server on changes."""
