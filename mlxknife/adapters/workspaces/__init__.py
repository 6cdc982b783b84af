"""Plain folders of the user: fulfils ``ports.workspaces``."""
