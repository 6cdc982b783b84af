"""Frozen values that travel between the floors: no paths, no handles, no behaviour beyond themselves."""
