"""The child side of a model process."""
