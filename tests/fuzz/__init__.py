"""Mutated documents for every parser that reads bytes from outside."""
