"""Serving models to many clients: the model pool and the models it may load."""
