"""Encoders: how the files of an embedding model or a reranker describe its network."""
