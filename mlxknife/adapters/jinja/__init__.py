"""Chat templates through Jinja, in a process that can be killed: fulfils ``ports.templates``."""
