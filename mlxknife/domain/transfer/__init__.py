"""Pulling models from the Hub and starters from a package index."""
