"""The catalog: every stored model, and the details of one model."""
