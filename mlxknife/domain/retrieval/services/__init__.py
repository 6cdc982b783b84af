"""The services of retrieval."""
