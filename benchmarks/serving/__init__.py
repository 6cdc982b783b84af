"""What ``serve.py`` times servers with: a model, clients, the servers, and the table."""
