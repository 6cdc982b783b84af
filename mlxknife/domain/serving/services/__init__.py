"""The services behind the HTTP server."""
