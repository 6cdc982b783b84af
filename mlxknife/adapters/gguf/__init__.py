"""GGUF import: parse and check the header, map tensors to mlx-lm's names, then convert one tensor at a time.

Fulfils ``ports.workspaces.importer``. It needs numpy and tokenizers, and never imports MLX.
"""
