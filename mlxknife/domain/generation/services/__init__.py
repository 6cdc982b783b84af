"""The services that generate text."""
