"""Generating text: requests, options, deltas, and the rules between them."""
