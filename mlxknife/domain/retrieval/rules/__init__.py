"""The rules of retrieval."""
