"""The services of embeddings."""
