"""A fork server for tests that run our programs: a command costs a fork, not the import of everything again.

A test calls ``subprocess`` as always. While the fork server is installed, ``Popen`` looks at each command. If the
command is one of our programs, ``Popen`` does not execute a new interpreter: it sends the request to a warm process,
which forks. The forked child is a child of the test process, with the pid, the exit status, the descriptors, the
session and the signals that a new process would have.

``install.py`` decides which commands are forked and sends them. ``server.py`` imports our modules once and forks.
``child.py`` turns the forked copy into a fresh process: environment, working directory, descriptors, streams, signals,
``sys.argv``, ``sys.path``, ``__main__``. The interpreter then shuts down as usual. ``shell_command.py`` is the small
program that shells find as ``mlxk``: it forwards its command to the server and ends as that command ends.

Never forked: programs of tests marked ``cold_start``, commands with settings that Python reads at its start (``PYTHON``
variables, other encodings), and anything on a system without ``CLONE_PARENT`` (all but Linux). The variable
``MLXK_TEST_COLD_STARTS=1`` switches the fork server off. MLX is not imported before a fork. ``huggingface_hub`` reads
the environment when it is imported, so programs import it themselves.

``mlxk serve`` and ``mlxk run`` start model processes of their own. A forked program has a companion for that: a copy of
the server that forks them, so that ``python -P -m mlxknife --worker-fd`` costs a fork there, too.
"""
