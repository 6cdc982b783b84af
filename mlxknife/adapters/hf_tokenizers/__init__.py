"""Tokenizers through the library of that name, beside the model and without MLX: fulfils ``ports.tokenizers``."""
