"""Model names: which are valid, and which model a name selects."""
