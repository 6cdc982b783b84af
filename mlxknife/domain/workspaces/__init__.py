"""Workspaces: plain folders with a model."""
