"""Where the bytes of a file come from: memory, a recipe that needs no memory, or a disk."""

from __future__ import annotations

import hashlib
import json
import os
import random
import struct
from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import Protocol

import attrs

_BLOCK = 1 << 20


class Content(Protocol):
    """Bytes that can be read from anywhere."""

    @property
    def size(self) -> int: ...

    @property
    def identity(self) -> str:
        """Return a text that differs where the bytes differ, without reading them."""

    def chunks(self, start: int, stop: int) -> Iterator[bytes]: ...


@attrs.frozen
class Bytes:
    """A file in memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def identity(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def chunks(self, start: int, stop: int) -> Iterator[bytes]:
        for at in range(start, stop, _BLOCK):
            yield self.data[at : min(stop, at + _BLOCK)]


@attrs.frozen
class Generated:
    """A file of any size that takes no memory: ``head``, then bytes that follow from the seed."""

    size: int
    seed: int = 0
    head: bytes = b""

    @property
    def identity(self) -> str:
        return f"generated {self.size} {self.seed} {self.head.hex()}"

    def chunks(self, start: int, stop: int) -> Iterator[bytes]:
        if start < len(self.head):
            yield self.head[start:stop]
            start = min(len(self.head), stop)
        noise = _noise(self.seed)
        while start < stop:
            number, offset = divmod(start, _BLOCK)
            end = min(stop, (number + 1) * _BLOCK)
            block = struct.pack("<Q", number) + noise
            yield block[offset : offset + end - start]
            start = end


@attrs.frozen
class OnDisk:
    """A file of a folder that is served."""

    path: str
    size: int
    changed_ns: int

    @classmethod
    def at(cls, path: str) -> OnDisk:
        status = os.stat(path)
        return cls(path, status.st_size, status.st_mtime_ns)

    @property
    def identity(self) -> str:
        return f"on disk {self.size} {self.changed_ns}"

    def chunks(self, start: int, stop: int) -> Iterator[bytes]:
        with open(self.path, "rb", buffering=0) as file:
            file.seek(start)
            while start < stop and (chunk := file.read(min(_BLOCK, stop - start))):
                yield chunk
                start += len(chunk)


def generated_safetensors(size: int, seed: int = 0) -> Generated:
    """Return a valid safetensors file of exactly ``size`` bytes (at least 256) with one big tensor in it."""
    header_size = 256 - 8
    count = size - 256
    tensor = {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}
    header = json.dumps({"model.weight": tensor}).encode().ljust(header_size)
    return Generated(size, seed, struct.pack("<Q", header_size) + header)


class File:
    """A file of a commit, with the hashes that the Hub publishes of it."""

    def __init__(self, path: str, content: Content, *, is_lfs: bool) -> None:
        self.path = path
        self.content = content
        self.is_lfs = is_lfs

    @property
    def size(self) -> int:
        return self.content.size

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256()
        for chunk in self.content.chunks(0, self.size):
            digest.update(chunk)
        return digest.hexdigest()

    @cached_property
    def blob_id(self) -> str:
        """The git object: of the pointer, where the file itself is in LFS."""
        content = Bytes(self.pointer) if self.is_lfs else self.content
        digest = hashlib.sha1(b"blob %d\0" % content.size, usedforsecurity=False)
        for chunk in content.chunks(0, content.size):
            digest.update(chunk)
        return digest.hexdigest()

    @property
    def pointer(self) -> bytes:
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n".encode()

    @property
    def etag(self) -> str:
        return self.sha256 if self.is_lfs else self.blob_id

    @property
    def xet_hash(self) -> str:
        return hashlib.sha256(b"xet" + self.sha256.encode()).hexdigest()


@lru_cache(maxsize=8)
def _noise(seed: int) -> bytes:
    return random.Random(seed).randbytes(_BLOCK - 8)
