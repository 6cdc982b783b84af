"""A config file with comments, for the tests that change one."""

from __future__ import annotations

CONFIG_TEXT = """\
# my settings
hub_cache = "/data/hub"  # on the large disk

[serve]  # for the office
port = 9000   # not 8000
cors = [
  "https://a.example",  # the first
]

# the last words
[list]
all = true
"""
