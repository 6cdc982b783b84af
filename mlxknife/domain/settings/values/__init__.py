"""Values of settings: what holds for one process, and the table of every setting."""
