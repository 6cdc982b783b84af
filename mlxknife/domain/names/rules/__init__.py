"""Rules of names and revisions."""
