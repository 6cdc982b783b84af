"""Pure rules of a generation."""
