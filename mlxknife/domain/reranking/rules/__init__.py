"""The rules of reranking."""
