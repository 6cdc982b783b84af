"""The rules of embeddings."""
