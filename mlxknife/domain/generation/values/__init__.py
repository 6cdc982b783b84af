"""Frozen values of a generation."""
