"""Pulling models from the Hub and starter models from a package index."""
