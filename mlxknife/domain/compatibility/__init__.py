"""Runtime compatibility: whether the installed packages can run a model."""
