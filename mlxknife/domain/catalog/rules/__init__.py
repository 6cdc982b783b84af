"""Pure rules: what a model is and what it can do."""
