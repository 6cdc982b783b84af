"""Frozen values: where a model is, what its files say, and the verdict on them."""
