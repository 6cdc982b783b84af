"""Encoders of our own, written once over numpy and MLX. Embedding models and rerankers are made of them."""
