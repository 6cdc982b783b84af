"""GGUF files, taken over into the format of mlx-lm: header first, then plan, then tensor by tensor."""
