"""Model names: which are allowed, and which model a name means."""
