"""Pure rules of names and revisions."""
