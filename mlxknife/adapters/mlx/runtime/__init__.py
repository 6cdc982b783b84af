"""The MLX runtime: device, dtype, BLAS and errors."""
