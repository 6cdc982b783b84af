"""Rules of text for people."""
