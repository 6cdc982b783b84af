"""Values that several subjects share: where a model is, what its files contain, and the verdict on them."""
