"""The real front end over a slow engine that only pretends, as a process of its own.

::

    with FakeServer(parrot_folder(), step_seconds=0.1) as server:
        ...  # a client of server.url
        assert server.notes("cancel")

``python -m tests.fake_server FOLDER`` serves until it is told to stop.
"""

from tests.fake_server.server import FakeServer

__all__ = ["FakeServer"]
