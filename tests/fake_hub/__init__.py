"""A Hugging Face Hub on loopback for the real client, whose responses a test can make fail.

::

    with FakeHub() as hub:
        commit = hub.add("org/name", {"config.json": b"{}"})
        hub.fail(Cut(after=10), "*/config.json", times=2)
        ...  # a client with HF_ENDPOINT=hub.endpoint
        assert hub.bytes_sent("config.json") == 22

``python -m tests.fake_hub FOLDER`` serves the models of a folder.
"""

from tests.fake_hub.contents import Bytes, Content, Generated, OnDisk, generated_safetensors
from tests.fake_hub.faults import (
    Body,
    Cut,
    Delay,
    EditJson,
    Fault,
    Flip,
    Gzip,
    Headers,
    IgnoreRange,
    Redirect,
    Rule,
    Slow,
    Stall,
    Status,
    WrongLength,
    hang,
    rate_limited,
    web_page,
)
from tests.fake_hub.hostile import HOSTILE_HASHES, HOSTILE_NAMES, recommitted, rehashed, renamed, resized
from tests.fake_hub.log import Seen
from tests.fake_hub.repos import LFS_SUFFIXES, Repo
from tests.fake_hub.routes import READER, STRANGER
from tests.fake_hub.server import FakeHub

__all__ = [
    "HOSTILE_HASHES",
    "HOSTILE_NAMES",
    "LFS_SUFFIXES",
    "READER",
    "STRANGER",
    "Body",
    "Bytes",
    "Content",
    "Cut",
    "Delay",
    "EditJson",
    "FakeHub",
    "Fault",
    "Flip",
    "Generated",
    "Gzip",
    "Headers",
    "IgnoreRange",
    "OnDisk",
    "Redirect",
    "Repo",
    "Rule",
    "Seen",
    "Slow",
    "Stall",
    "Status",
    "WrongLength",
    "generated_safetensors",
    "hang",
    "rate_limited",
    "recommitted",
    "rehashed",
    "renamed",
    "resized",
    "web_page",
]
