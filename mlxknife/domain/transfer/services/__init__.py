"""The services behind pull."""
