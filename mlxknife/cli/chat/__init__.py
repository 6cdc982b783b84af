"""The conversation in a terminal: what ``mlxk run`` is without a prompt."""
