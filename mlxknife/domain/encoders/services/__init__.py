"""The services of encoders."""
