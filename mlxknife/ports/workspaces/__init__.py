"""What the domain needs of workspaces."""
