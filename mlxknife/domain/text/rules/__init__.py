"""Pure rules of text for people."""
