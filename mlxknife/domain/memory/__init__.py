"""Memory: what a model needs, and which CPU profile fits."""
