"""MLX: running models, and making them."""
