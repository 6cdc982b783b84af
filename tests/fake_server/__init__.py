"""The real server over a slow fake model, as a process of its own.

::

    with FakeServer(parrot_folder(), step_seconds=0.1) as server:
        ...  # a client of server.url
        assert server.notes("cancel")

``python -m tests.fake_server FOLDER`` serves until a signal ends it.
"""

from tests.fake_server.server import FakeServer

__all__ = ["FakeServer"]
