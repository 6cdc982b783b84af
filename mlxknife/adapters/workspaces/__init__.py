"""Workspaces in plain folders: implements ``Workspaces`` and ``WorkspaceBuilder``."""
