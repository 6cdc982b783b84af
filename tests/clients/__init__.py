"""Scripts in which the real clients, unmodified, speak to a server; they run in environments of their own.

``python`` and ``node_modules`` return the place of one. It is made once, from the package index, and kept in ``.cache``
of the repository. ``run_suite`` runs the tests of one client.
"""

from tests.clients.environment import AGENTS, INSTRUCTOR, JAVASCRIPT, NEWER, OTHERS, node_modules, python
from tests.clients.running import Report, missing_tool, run_suite, run_suite_here

__all__ = [
    "AGENTS",
    "INSTRUCTOR",
    "JAVASCRIPT",
    "NEWER",
    "OTHERS",
    "Report",
    "missing_tool",
    "node_modules",
    "python",
    "run_suite",
    "run_suite_here",
]
