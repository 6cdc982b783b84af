"""Encoders of our own: numpy on the CPU. Fulfils ``ports.engines.embedding``."""
