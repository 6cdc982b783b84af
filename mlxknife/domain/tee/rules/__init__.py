"""Pure rules of mlx-tee."""
