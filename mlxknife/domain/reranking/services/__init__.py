"""The services of reranking."""
