"""One module per command: frozen options, ``add_arguments`` and ``run(app, options, console) -> CommandResult``."""
