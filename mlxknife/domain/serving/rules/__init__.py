"""Pure rules of the model pool."""
