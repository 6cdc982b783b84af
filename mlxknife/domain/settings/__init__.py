"""Settings of the product and of the server."""
