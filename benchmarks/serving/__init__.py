"""The parts of ``serve.py``: models, clients, servers, measurements and the table."""
