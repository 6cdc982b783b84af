"""The parent side of a model process."""
