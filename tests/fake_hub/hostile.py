"""False listings of the API as faults: other names, sizes, hashes and commits."""

from __future__ import annotations

from collections.abc import Callable

from tests.fake_hub.faults import EditJson
from tests.fake_hub.messages import Json

HOSTILE_NAMES = (
    "../../escaped",
    "../../../../../../../../tmp/escaped",
    "/tmp/escaped",
    "a/../../../escaped",
    "..",
    ".",
    "./",
    "a//b",
    "a/./b",
    "nul\0byte",
    "line\nbreak",
    "\x1b[2Jescape",
    "back\\slash\\..\\..\\escaped",
    "C:\\escaped",
    "x" * 300,
    "/".join(["y" * 250] * 20),
    "\u202egnp.exe",
    "\ud800",
    "",
    " ",
    "config.json/child",
)
HOSTILE_HASHES = ("../../escaped", "/tmp/escaped", "..", "", "x" * 300, "nul\0byte", "A" * 64, "0" * 40, "0" * 64)


def renamed(old: str, new: str) -> EditJson:
    """Return the fault that lists a file under another name."""
    return _for_file(old, lambda entry: {key: new if key in ("path", "rfilename") else entry[key] for key in entry})


def resized(name: str, size: int) -> EditJson:
    """Return the fault that lists a file with another size."""
    return _for_file(name, lambda entry: entry | {"size": size} | _large(entry, {"size": size}))


def rehashed(name: str, digest: str) -> EditJson:
    """Return the fault that lists a file with another hash."""

    def change(entry: dict[str, Json]) -> dict[str, Json]:
        hashes: dict[str, Json] = {key: digest for key in ("oid", "blobId") if key in entry}
        return entry | hashes | _large(entry, {"sha256" if "rfilename" in entry else "oid": digest})

    return _for_file(name, change)


def recommitted(commit: str) -> EditJson:
    """Return the fault that names another commit for the revision."""
    return EditJson(lambda value: value | {"sha": commit} if isinstance(value, dict) and "sha" in value else value)


def _for_file(name: str, change: Callable[[dict[str, Json]], dict[str, Json]]) -> EditJson:
    def walk(value: Json) -> Json:
        if isinstance(value, list):
            return [walk(item) for item in value]
        if not isinstance(value, dict):
            return value
        if name in (value.get("path"), value.get("rfilename")):
            return change(value)
        return {key: walk(item) for key, item in value.items()}

    return EditJson(walk)


def _large(entry: dict[str, Json], changes: dict[str, Json]) -> dict[str, Json]:
    large = entry.get("lfs")
    return {"lfs": large | changes} if isinstance(large, dict) else {}
