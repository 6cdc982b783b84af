"""The rules of encoders."""
