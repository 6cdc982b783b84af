"""Scripts in which the real clients, unmodified, speak to a server; they run in environments of their own.

``python`` returns the interpreter of one. It is made once, from the package index, and kept in ``.cache`` of the
repository.
"""

from tests.clients.environment import NEWEST, OTHERS, python

__all__ = ["NEWEST", "OTHERS", "python"]
