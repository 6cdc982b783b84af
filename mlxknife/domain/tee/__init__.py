"""The same input for several commands."""
