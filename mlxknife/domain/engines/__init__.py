"""Engines: what every kind of model process receives and sends."""
