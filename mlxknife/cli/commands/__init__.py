"""One module a command: frozen options, ``add_arguments``, ``run(app, options) -> Answer``."""
