"""mlx-tee: several commands that get the same input."""
