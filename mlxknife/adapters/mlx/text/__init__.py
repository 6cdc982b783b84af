"""Language models through mlx-lm."""
