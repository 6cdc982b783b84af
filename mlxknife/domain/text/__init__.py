"""Text for people: sizes, control characters, redaction."""
